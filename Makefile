# SPDX-License-Identifier: MIT
#
# make            build/release/llm-proxy, stripped, its debug info beside it
# make run        install what is missing, build, start       (ARGS="--port 8080" are passed on)
# make test       install what is missing, build, all tests   (V=asan, V=tsan: under sanitizers)
# make test-unit  the unit tests alone                         (T=sse: only those so named)
# make test-e2e   the black-box tests alone                    (T=stream: only files so named)
# make test-fault the tests with broken peers and system calls (T=inject: only files so named)
# make lint       format, layers, sizes, bans, documentation drift
# make format     clang-format over the sources
# make tidy       clang-tidy over the sources (slow, for hints)
# make fuzz       each fuzz target for T seconds (5)
# make bench      the performance table, against nginx
# make manual     the generated pages of docs/
# make coverage   lines covered by the tests, per room
# make install    to DESTDIR/PREFIX (/usr/local): program, man page, completion, systemd unit, docs
# make uninstall  takes that away again
#
# V=debug|release|asan|tsan chooses the variant, CC the compiler (gcc or clang), JOBS how many
# compile at once, ROOMS="base text" builds a part of the tree, WERROR=1 makes warnings errors.

.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

V       ?= release
BUILD   ?= build/$(V)
PREFIX  ?= /usr/local
MANDIR  ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
DESTDIR ?=
JOBS    ?= $(shell nproc 2>/dev/null || echo 2)
ROOMS   ?= $(patsubst src/%/,%,$(wildcard src/*/))
T       ?=
ARGS    ?=
VERSION := $(shell cat VERSION)

VARIANTS := debug release asan tsan fuzz cov
ifeq ($(filter $(V),$(VARIANTS)),)
$(error V=$(V) is none of: $(VARIANTS))
endif
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS) --no-print-directory
endif

# --- Compiler and flags -------------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := $(or $(shell for c in gcc clang; do command -v $$c >/dev/null && echo $$c && break; done),gcc)
endif
ifeq ($(V),fuzz)
CC := $(shell tools/fuzz --compiler)
endif
AR      := ar
OBJCOPY := objcopy
IS_CLANG := $(findstring clang,$(shell $(CC) --version 2>/dev/null | head -n 1))
MACHINE  := $(shell $(CC) -dumpmachine 2>/dev/null)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wundef -Wcast-qual \
    -Wwrite-strings -Wvla -Walloca -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough \
    -Wnull-dereference -Wdouble-promotion -Wpointer-arith
ifeq ($(IS_CLANG),)
WARNINGS += -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wformat-signedness \
    -Wformat-overflow=2 -Warith-conversion -Wtrampolines
# Without optimisation the compiler knows no text's length, and warns of each that is printed.
ifeq ($(filter cov debug,$(V)),)
WARNINGS += -Wformat-truncation=2
else
WARNINGS += -Wno-format-truncation
endif
else
# Of -Wpedantic: a variadic macro called without its variable part is legal since C23, and in gnu17.
WARNINGS += -Wno-gnu-zero-variadic-macro-arguments
endif
ifdef WERROR
WARNINGS += -Werror
endif

# Only in release: a sanitizer has to see the overflow that -fno-strict-overflow would define.
HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong \
    -fstack-clash-protection -fno-strict-overflow -fno-delete-null-pointer-checks -fPIE
ifneq ($(filter x86_64-% i%86-%,$(MACHINE)),)
HARDEN += -fcf-protection=full
endif
# clang 14 refuses it, as it still had to be enabled there by a second option.
HARDEN += $(shell echo 'int x;' | $(CC) -Werror -ftrivial-auto-var-init=zero -c -x c - \
    -o /dev/null 2>/dev/null && echo -ftrivial-auto-var-init=zero)
HARDEN_LINK := -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,--as-needed

MODE_release := -O2 $(HARDEN)
LINK_release := $(HARDEN_LINK)
MODE_debug   := -O0
MODE_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
LINK_asan    := -fsanitize=address,undefined -fno-sanitize-recover=all
MODE_tsan    := -O1 -fsanitize=thread
LINK_tsan    := -fsanitize=thread
MODE_cov     := -O0 --coverage -fprofile-update=atomic
LINK_cov     := --coverage
MODE_fuzz    := -O1 $(shell tools/fuzz --flags compile) -fno-sanitize-recover=all
LINK_fuzz    := $(shell tools/fuzz --flags link) -fno-sanitize-recover=all

LIBS := libuv yyjson libllhttp openssl zlib yaml-0.1 libxxhash sqlite3
# Asked when first needed, and once: the machine may not have them yet when make starts.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(LIBS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $(LIBS)))$(PKG_LIBS)
TEST_LIBS  = $(eval TEST_LIBS := $$(shell pkg-config --libs cmocka))$(TEST_LIBS)

ALL_CFLAGS  = -std=gnu17 -D_GNU_SOURCE -g3 -fno-omit-frame-pointer -fno-common \
    $(MODE_$(V)) -Isrc $(PKG_CFLAGS) $(WARNINGS) $(CFLAGS)
ALL_LDFLAGS = $(LINK_$(V)) $(LDFLAGS)
ALL_LIBS    = $(PKG_LIBS) -lm -lpthread

# --- What there is ------------------------------------------------------------------------------

SRCS      := $(sort $(wildcard $(ROOMS:%=src/%/*.c)))
TEST_SRCS := $(filter %_test.c,$(SRCS))
# Rooms that only compute start no thread and share nothing: no race for TSan to find.
ifeq ($(V),tsan)
TEST_SRCS := $(filter-out $(foreach r,text canon protocol command pipeline,src/$r/%),$(TEST_SRCS))
endif
LIB_SRCS  := $(filter-out %_test.c,$(SRCS))
LIB_OBJS  := $(LIB_SRCS:src/%.c=$(BUILD)/obj/%.o)
MAIN_OBJ  := $(BUILD)/obj/main.o
TESTS     := $(sort $(foreach t,$(TEST_SRCS),$(BUILD)/test/$(basename $(notdir $(t)))))
TESTS_RUN := $(if $(T),$(foreach t,$(TESTS),$(if $(findstring $(T),$(notdir $t)),$t)),$(TESTS))
FUZZ_SRCS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_HELP := $(sort $(filter-out $(FUZZ_SRCS),$(wildcard tests/fuzz/*.c)))
FUZZERS   := $(FUZZ_SRCS:tests/fuzz/%.c=$(BUILD)/%)
PROGRAM   := $(BUILD)/llm-proxy
ARCHIVE   := $(BUILD)/libllm.a
# Preloaded by tests: never with a sanitizer of its own.
INJECT    := $(BUILD)/inject.so
TURNS     := $(BUILD)/turns.so
# The version is known to these objects only: a new one recompiles no more than them.
VERSION_OBJS := $(MAIN_OBJ) $(filter %/version.o,$(LIB_OBJS))

.PHONY: all build-tests run test test-unit test-e2e test-fault lint format tidy fuzz fuzz-build \
    bench manual coverage install uninstall clean FORCE

all: $(PROGRAM)
build-tests: $(PROGRAM) $(TESTS) $(INJECT) $(TURNS)

# --- Rules --------------------------------------------------------------------------------------

# Two stamps: written again only when their text changes, so that new flags or a file more or
# less rebuild what depends on them, and nothing else does.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@pkg-config --exists $(LIBS) 2>/dev/null || { \
	    echo "Libraries are missing; tools/setup run installs them." >&2; exit 1; }
	@echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || \
	    echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' >$@
$(BUILD)/objects: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_OBJS)' | cmp -s - $@ || echo '$(LIB_OBJS)' >$@

$(VERSION_OBJS): private ALL_CFLAGS += -DLLM_PROXY_VERSION='"$(VERSION)"'
$(VERSION_OBJS): VERSION
$(BUILD)/obj/%.o: src/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(ARCHIVE): $(LIB_OBJS) $(BUILD)/objects
	@rm -f $@
	@echo "  AR    $@"
	@$(AR) rcs $@ $(LIB_OBJS)

ifeq ($(V),release)
$(PROGRAM): $(PROGRAM).full
	@echo "  STRIP $@"
	@$(OBJCOPY) --only-keep-debug $< $@.debug
	@chmod -x $@.debug
	@$(OBJCOPY) --strip-all --add-gnu-debuglink=$@.debug $< $@
$(PROGRAM).full: $(MAIN_OBJ) $(ARCHIVE)
else
$(PROGRAM): $(MAIN_OBJ) $(ARCHIVE)
endif
	@echo "  LINK  $@"
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(MAIN_OBJ) $(ARCHIVE) $(ALL_LIBS)

define test_rule
$(BUILD)/test/$(basename $(notdir $(1))): $(1:src/%.c=$(BUILD)/obj/%.o) $(ARCHIVE)
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$< $(ARCHIVE) $$(TEST_LIBS) $$(ALL_LIBS)
endef
$(foreach t,$(TEST_SRCS),$(eval $(call test_rule,$(t))))

$(INJECT): tests/fault/inject.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) -std=gnu17 -D_GNU_SOURCE -O1 -g $(WARNINGS) -Wno-pedantic -fPIC -shared -o $@ $< -ldl -lpthread

$(TURNS): tests/e2e/turns.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) -std=gnu17 -D_GNU_SOURCE -O1 -g $(WARNINGS) -Wno-pedantic -fPIC -shared -o $@ $< -ldl

$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_HELP) $(ARCHIVE)
	@echo "  LINK  $@"
	@$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(FUZZ_HELP) \
	    $$(tools/fuzz --main) $(ARCHIVE) $(ALL_LIBS)

-include $(SRCS:src/%.c=$(BUILD)/obj/%.d) $(MAIN_OBJ:.o=.d) $(FUZZERS:=.d)

# --- Tasks --------------------------------------------------------------------------------------

# These first install what is missing; only after that a second make looks at the machine again.
run:
	@tools/setup run
	@$(MAKE) V=release all
	@exec tools/run build/release/llm-proxy $(ARGS)

test:
	@tools/setup test
	@$(MAKE) build-tests
	@BUILD=$(BUILD) V=$(V) T='$(T)' tools/test unit e2e fault -- $(TESTS_RUN)

test-unit: $(TESTS_RUN)
	@BUILD=$(BUILD) V=$(V) tools/test unit -- $(TESTS_RUN)

test-e2e: $(PROGRAM) $(TURNS)
	@BUILD=$(BUILD) V=$(V) T='$(T)' tools/test e2e

test-fault: $(PROGRAM) $(INJECT)
	@BUILD=$(BUILD) V=$(V) T='$(T)' tools/test fault

lint:
	@tools/setup lint
	@tools/lint

format:
	@tools/lint --format

tidy:
	@clang-tidy --quiet $(LIB_SRCS) $(wildcard src/*.c) -- -std=gnu17 -D_GNU_SOURCE -Isrc \
	    -DLLM_PROXY_VERSION='"$(VERSION)"' $(PKG_CFLAGS)

fuzz:
	@tools/setup fuzz
	@$(MAKE) V=fuzz BUILD=build/fuzz fuzz-build
	@tools/fuzz --run $(or $(T),5) $(FUZZ_SRCS:tests/fuzz/%.c=build/fuzz/%)
fuzz-build: $(FUZZERS)

bench:
	@tools/setup bench
	@$(MAKE) V=release all
	@tests/bench/run $(ARGS)

manual: $(PROGRAM)
	@tools/manual $(PROGRAM) docs config.example.yaml

coverage:
	@tools/setup test
	@$(MAKE) V=cov BUILD=build/cov build-tests
	@tools/coverage build/cov

# SHELL:where below share/ its completion is looked for.
COMPLETIONS := bash:bash-completion/completions/llm-proxy zsh:zsh/site-functions/_llm-proxy \
    fish:fish/vendor_completions.d/llm-proxy.fish
INSTALLED_DOCS = README.md LICENSE config.example.yaml \
    $(wildcard docs/*.md docs/*.svg docs/clients/*.md)

# Man page and completion are the program's own (--manual).
install: $(PROGRAM)
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/llm-proxy
	@mkdir -p $(BUILD)/share
	$(PROGRAM) --manual man >$(BUILD)/share/llm-proxy.1
	install -D -m 644 $(BUILD)/share/llm-proxy.1 $(DESTDIR)$(MANDIR)/man1/llm-proxy.1
	for s in $(COMPLETIONS); do \
	    $(PROGRAM) --manual $${s%%:*} >$(BUILD)/share/$${s##*/} && \
	    install -D -m 644 $(BUILD)/share/$${s##*/} $(DESTDIR)$(PREFIX)/share/$${s#*:} || exit; \
	done
	sed 's|@PREFIX@|$(PREFIX)|' share/llm-proxy.service.in >$(BUILD)/share/llm-proxy.service
	install -D -m 644 $(BUILD)/share/llm-proxy.service $(DESTDIR)$(UNITDIR)/llm-proxy.service
	for f in $(INSTALLED_DOCS); do \
	    install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/doc/llm-proxy/$$f || exit; \
	done

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/llm-proxy $(DESTDIR)$(MANDIR)/man1/llm-proxy.1 \
	    $(DESTDIR)$(UNITDIR)/llm-proxy.service
	for s in $(COMPLETIONS); do rm -f $(DESTDIR)$(PREFIX)/share/$${s#*:}; done
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/llm-proxy

clean:
	rm -rf build
