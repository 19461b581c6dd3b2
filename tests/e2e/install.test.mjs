/* SPDX-License-Identifier: MIT */
/*
 * make install: what it puts where, and that it can be used there; the example of a configuration,
 * with every option in it.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { PROGRAM, ROOT, run, temp_dir, test } from "./lib/proxy.mjs";

let dest;
let installed;

/** make, as by hand; with this build's program. */
function make(target) {
    const env = { ...process.env };
    for (const name of ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "V"]) {
        delete env[name];
    }
    /* -o: not to be made anew, whatever its flags were. */
    const done = spawnSync("make", ["-o", path.relative(ROOT, PROGRAM), target,
        `BUILD=${path.relative(ROOT, path.dirname(PROGRAM))}`, `DESTDIR=${dest}`, "PREFIX=/usr"],
    { cwd: ROOT, env, encoding: "utf8" });
    assert.equal(done.status, 0, done.stdout + done.stderr);
}

function files(dir, at = "") {
    return fs.readdirSync(path.join(dir, at), { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? files(dir, path.join(at, entry.name)) : [path.join(at, entry.name)]);
}

const has = (command) => spawnSync("sh", ["-c", `command -v ${command}`]).status === 0;

before(() => {
    dest = temp_dir();
    make("install");
    installed = files(dest);
});

after(() => fs.rmSync(dest, { recursive: true, force: true }));

test("install: the program, its page, completion, unit and documents, each where it is looked for",
    () => {
        for (const file of ["usr/bin/llm-proxy", "usr/share/man/man1/llm-proxy.1",
            "usr/lib/systemd/system/llm-proxy.service",
            "usr/share/bash-completion/completions/llm-proxy",
            "usr/share/zsh/site-functions/_llm-proxy",
            "usr/share/fish/vendor_completions.d/llm-proxy.fish",
            "usr/share/doc/llm-proxy/README.md", "usr/share/doc/llm-proxy/config.example.yaml",
            "usr/share/doc/llm-proxy/docs/CONFIGURATION.md"]) {
            assert.ok(installed.includes(file), `${file} in ${installed.join(" ")}`);
            assert.ok(fs.statSync(path.join(dest, file)).size > 0, file);
        }
        const program = spawnSync(path.join(dest, "usr/bin/llm-proxy"), ["--version"],
            { encoding: "utf8" });
        assert.match(program.stdout, /^llm-proxy \d/);
        assert.equal(fs.statSync(path.join(dest, "usr/bin/llm-proxy")).mode & 0o777, 0o755);
    });

test("install: the manual page has every option of --help, and no fault that man finds", async () => {
    const page = path.join(dest, "usr/share/man/man1/llm-proxy.1");
    const text = fs.readFileSync(page, "utf8").replaceAll("\\-", "-");
    const { stdout } = await run(["--help"]);
    const options = [...stdout.matchAll(/^ {2}(--[a-z-]+)/gm)].map((m) => m[1]);
    assert.ok(options.length > 15);
    const idle = (out) => [...out.matchAll(/\(no effect yet\)$/gm)].length;
    assert.equal(idle(text), idle(stdout));
    for (const option of options) {
        assert.ok(text.includes(`\n.B ${option}`), option);
    }
    if (has("man")) {
        const shown = spawnSync("man", ["-l", "--warnings", page], { encoding: "utf8",
            env: { ...process.env, MANWIDTH: "80", LC_ALL: "C.UTF-8" } });
        assert.equal(shown.status, 0, shown.stderr);
        assert.equal(shown.stderr, "");
        assert.match(shown.stdout, /EXIT STATUS/);
    }
});

test("install: bash completes options, files and what an option takes", (t) => {
    if (!has("bash")) {
        t.skip("bash is not installed");
        return;
    }
    const script = path.join(dest, "usr/share/bash-completion/completions/llm-proxy");
    const completed = (...words) => {
        const done = spawnSync("bash", ["-euc", `source "$0"; COMP_WORDS=(llm-proxy "$@")
            COMP_CWORD=$#; compopt() { :; }; _llm_proxy; printf '%s\n' "\${COMPREPLY[@]:-}"`,
        script, ...words], { encoding: "utf8", cwd: ROOT });
        assert.equal(done.status, 0, done.stderr);
        return done.stdout.trim().split("\n");
    };
    assert.deepEqual(completed("--log-level", "d"), ["debug"]);
    assert.deepEqual(completed("--manual", "co"), ["commands", "config"]);
    assert.deepEqual(completed("--po"), ["--port"]);
    assert.deepEqual(completed("--config", "READ"), ["README.md"]);
    assert.deepEqual(completed("--port", ""), [""]);
    assert.deepEqual(completed("lint-"), ["lint-stream"]);
});

test("install: the unit starts what was installed, and systemd finds no fault in it", (t) => {
    const file = path.join(dest, "usr/lib/systemd/system/llm-proxy.service");
    const unit = fs.readFileSync(file, "utf8");
    assert.match(unit, /^ExecStart=\/usr\/bin\/llm-proxy --config /m);
    assert.doesNotMatch(unit, /@[A-Z]+@/);
    for (const line of ["NoNewPrivileges=yes", "ProtectSystem=strict", "DynamicUser=yes",
        "MemoryDenyWriteExecute=yes", "CapabilityBoundingSet=", "SystemCallFilter=@system-service"]) {
        assert.ok(unit.split("\n").includes(line), line);
    }
    if (!has("systemd-analyze")) {
        t.skip("systemd-analyze is not installed");
        return;
    }
    /* It looks for the program where the unit says. */
    const copy = path.join(dest, "llm-proxy.service");
    fs.writeFileSync(copy, unit.replace("/usr/bin/llm-proxy", path.join(dest,
        "usr/bin/llm-proxy")).replace("man:llm-proxy(1)", "https://example.com/"));
    const verified = spawnSync("systemd-analyze", ["verify", copy], { encoding: "utf8" });
    const faults = (verified.stdout + verified.stderr).split("\n")
        .filter((line) => line.includes("llm-proxy.service"));
    assert.deepEqual(faults, []);
});

test("install: make uninstall leaves nothing", () => {
    make("uninstall");
    assert.deepEqual(files(dest).filter((file) => file !== "llm-proxy.service"), []);
});

/** Every option that stands behind a "#" without a blank counts. */
const uncomment = (text) => text.replace(/^#((?: {2})*[A-Za-z])/gm, "$1");

test("example: it is a configuration that works, as it is and with every option of it", async () => {
    const text = fs.readFileSync(path.join(ROOT, "config.example.yaml"), "utf8");
    const [top, of_backend] = text.split(/^# --- every option of a backend.*$/m);
    for (const config of [text, uncomment(top), uncomment(of_backend).replace("NAME:", "demo:")]) {
        const { code, all } = await run(["--check-config"], { config });
        assert.equal(code, 0, all);
        assert.match(all, /configuration ok/);
    }
    /* What it calls a default is one. */
    const values = async (config) => (await run(["--print-config"], { config })).stdout
        .replace(/ *#.*/g, "").replace(/^backends:[^]*/m, "");
    assert.equal(await values(uncomment(top)), await values("# nothing\n"));
});
