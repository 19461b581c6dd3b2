/* SPDX-License-Identifier: MIT */
/*
 * What      The manual page.
 * How       Texts around the list of options, which is made of the command line's own table.
 * Owns      Nothing.
 */
#include "cli/man_page.h"

#include "base/buf.h"
#include "state/config.h"

enum { PAGE_BYTES_MAX = 64 * 1024 };

static const char before[] =
    ".SH NAME\n"
    "llm\\-proxy \\- a proxy between any LLM client and any LLM backend\n"
    ".SH SYNOPSIS\n"
    ".B llm\\-proxy\n"
    ".RI [ option \\ ...]\n"
    ".br\n"
    ".B llm\\-proxy debug\\-stream\n"
    ".RI [ option \\ ...]\\ [ PROMPT ]\n"
    ".br\n"
    ".B llm\\-proxy lint\\-stream\n"
    ".RI [ option \\ ...]\n"
    ".SH DESCRIPTION\n"
    "Clients of OpenAI's, Anthropic's and Google's interfaces come in at one address, and any\n"
    "backend answers them: requests and answers are forwarded to the byte where both sides speak\n"
    "the same protocol, and translated where they do not. Commands in the chat\n"
    ".RB ( !/help )\n"
    "steer a session.\n"
    ".PP\n"
    "Without an option it reads\n"
    ".I config.yaml\n"
    "and\n"
    ".I .env\n"
    "of the working directory, takes keys of vendors from the environment\n"
    ".RB ( OPENAI_API_KEY\n"
    "and so on), and serves on 127.0.0.1:8000.\n"
    ".PP\n"
    ".B debug\\-stream\n"
    "asks a proxy, and prints each event of its answer with the milliseconds since the request\n"
    "and since the event before;\n"
    ".B lint\\-stream\n"
    "checks a recorded stream on its standard input. Both have a\n"
    ".B \\-\\-help\n"
    "of their own.\n"
    ".SH OPTIONS\n"
    "A value may stand behind a blank or a \"=\".\n";

static const char after[] =
    ".SH ENVIRONMENT\n"
    ".TP\n"
    ".BR \\fIVENDOR\\fP_API_KEY ,\\ \\fIVENDOR\\fP_API_KEY_1\\ ...\\ _20\n"
    "Keys of a vendor's backend, which exists by them.\n"
    ".TP\n"
    ".B \\fIVENDOR\\fP_API_BASE_URL\n"
    "Another URL for it.\n"
    ".TP\n"
    ".BR LLM_INTERACTIVE_PROXY_API_KEY ,\\ API_KEYS\n"
    "What clients must show.\n"
    ".PP\n"
    "More variables, and all options of the configuration:\n"
    ".B llm\\-proxy \\-\\-manual config\n"
    "and\n"
    ".BR \"llm\\-proxy \\-\\-manual example\" .\n"
    ".SH FILES\n"
    ".TP\n"
    ".I config.yaml\n"
    "The configuration, where\n"
    ".B \\-\\-config\n"
    "names no other.\n"
    ".TP\n"
    ".I .env\n"
    "Variables that the environment does not have.\n"
    ".TP\n"
    ".I data/\n"
    "What is kept: the client key that was made, sessions\n"
    ".RB ( data_dir ).\n"
    ".SH SIGNALS\n"
    ".TP\n"
    ".B SIGHUP\n"
    "Reads the configuration and the files that it names again. On any fault all stays as it was,\n"
    "and the log says why.\n"
    ".TP\n"
    ".BR SIGTERM ,\\ SIGINT\n"
    "Takes no new connections, lets running requests end for at most\n"
    ".BR drain_timeout ,\n"
    "and ends. A second one ends at once.\n"
    ".SH EXIT STATUS\n"
    "0 after a signal, or when what was asked for is done; 1 for a faulty configuration, or when\n"
    "it cannot serve.\n"
    ".SH SEE ALSO\n"
    ".BR curl (1),\n"
    ".BR systemd.service (5)\n";

/* Text of a line: no control characters for roff in it. */
static void add_text(struct buf *out, struct str text)
{
    if (text.n > 0 && (text.p[0] == '.' || text.p[0] == '\''))
        (void)buf_add(out, STR("\\&"));
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '-' || text.p[i] == '\\')
            (void)buf_add_char(out, '\\');
        (void)buf_add_char(out, text.p[i] == '\\' ? 'e' : text.p[i]);
    }
}

struct str man_page(const char *version, struct arena *arena)
{
    struct config_flag flag;
    struct buf out;

    buf_init(&out, PAGE_BYTES_MAX);
    (void)buf_print(&out, ".TH LLM\\-PROXY 1 \"\" \"llm\\-proxy %s\" \"User Commands\"\n", version);
    (void)buf_add(&out, str_of(before, sizeof(before) - 1));
    for (size_t i = 0; config_args_flag(i, &flag); i++) {
        (void)buf_add(&out, STR(".TP\n.B "));
        add_text(&out, str_c(flag.name));
        if (flag.value != NULL) {
            (void)buf_add(&out, STR(" \\fI"));
            add_text(&out, str_c(flag.value));
            (void)buf_add(&out, STR("\\fP"));
        }
        (void)buf_add_char(&out, '\n');
        add_text(&out, str_c(flag.help));
        (void)buf_add(&out, flag.later ? STR(" (no effect yet)\n") : STR("\n"));
    }
    (void)buf_add(&out, str_of(after, sizeof(after) - 1));
    assert(buf_ok(&out));
    struct str text = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}
