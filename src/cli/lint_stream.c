/* SPDX-License-Identifier: MIT */
#include "cli/lint_stream.h"

#include "protocol/protocol.h"

enum { PIECE = 64 * 1024, ARENA_MAX = 1024 * 1024 * 1024 };

struct lint_stream {
    const struct protocol *protocol;
    bool whole;
    bool array;
    bool help;
    char *const *files; /* none: the standard input */
    int files_n;
};

static const char usage[] =
    "llm-proxy lint-stream --protocol NAME [--whole] [--array] < CAPTURE\n"
    "llm-proxy lint-stream --protocol NAME [--whole] [--array] CAPTURE...\n\n"
    "Checks the body of an answer, as a client got it, against the grammar of its protocol.\n\n"
    "  --protocol NAME  %s\n"
    "  --whole          one whole body instead of a stream of events\n"
    "  --array          a stream as a JSON array (gemini without alt=sse)\n\n"
    "Exit code 0: it is as it should be; 1: the first violation is printed, \"line N: …\", of\n"
    "each file behind its name; 2: not everything was checked.\n";

static void print_usage(FILE *to)
{
    struct buf names;

    buf_init(&names, 1024);
    for (size_t i = 0; i < protocol_count; i++) {
        if (protocol_table[i]->lint_size > 0)
            (void)buf_print(&names, "%s%s", names.n > 0 ? ", " : "", protocol_table[i]->name);
    }
    (void)buf_add_char(&names, '\0');
    (void)fprintf(to, usage, names.p);
    buf_fini(&names);
}

static bool refuse(FILE *err, const char *why, const char *what)
{
    (void)fprintf(err, "lint-stream: %s%s; see llm-proxy lint-stream --help\n", why, what);
    return false;
}

static bool take_protocol(struct lint_stream *command, const char *name, FILE *err)
{
    command->protocol = protocol_find(str_c(name));
    if (command->protocol == NULL)
        return refuse(err, "unknown protocol ", name);
    if (command->protocol->lint_size == 0)
        return refuse(err, "no checker yet for ", name);
    return true;
}

static bool take_argument(struct lint_stream *command, const char *text, FILE *err)
{
    struct str argument = str_c(text);

    if (str_eq(argument, STR("--help")) || str_eq(argument, STR("-h")))
        command->help = true;
    else if (str_eq(argument, STR("--whole")))
        command->whole = true;
    else if (str_eq(argument, STR("--array")))
        command->array = true;
    else if (str_starts(argument, STR("--protocol=")))
        return take_protocol(command, text + sizeof("--protocol=") - 1, err);
    else
        return refuse(err, "unknown argument ", text);
    return true;
}

/* What was asked for, as a whole. */
static bool is_sound(const struct lint_stream *command, FILE *err)
{
    if (command->help)
        return true;
    if (command->protocol == NULL)
        return refuse(err, "--protocol is missing", "");
    if (command->whole && command->array)
        return refuse(err, "--whole and --array exclude one another", "");
    if (command->array && command->protocol->array_content_type == NULL)
        return refuse(err, "--array: no such streams in ", command->protocol->name);
    return true;
}

static bool read_arguments(struct lint_stream *command, int argc, char *const *argv, FILE *err)
{
    for (int i = 0; i < argc; i++) {
        bool named = str_eq(str_c(argv[i]), STR("--protocol"));
        if (argv[i][0] != '-') {
            command->files = argv + i;
            command->files_n = argc - i;
            break;
        }
        if (named && i + 1 == argc)
            return refuse(err, "--protocol needs a name", "");
        if (named ? !take_protocol(command, argv[++i], err) : !take_argument(command, argv[i], err))
            return false;
    }
    return is_sound(command, err);
}

struct lint_streams {
    FILE *in;
    const char *name; /* of the file; NULL: the standard input */
    FILE *out;
    FILE *err;
};

static int check(const struct lint_stream *command, void *state, struct arena *arena,
                 const struct lint_streams *to)
{
    const char *name = to->name == NULL ? "standard input" : to->name;
    char *piece = arena_alloc(arena, PIECE);
    struct error e = {.code = OK};
    bool end = false;

    while (!end) {
        size_t n = fread(piece, 1, PIECE, to->in);
        if (ferror(to->in) != 0) {
            (void)fprintf(to->err, "lint-stream: cannot read %s\n", name);
            return LINT_STREAM_USAGE;
        }
        end = n < PIECE;
        if (command->protocol->lint_bytes(state, str_of(piece, n), end, &e) != OK) {
            if (to->name != NULL)
                (void)fprintf(to->out, "%s: ", name);
            (void)fprintf(to->out, "%s\n", e.detail);
            return LINT_STREAM_VIOLATION;
        }
    }
    return LINT_STREAM_OK;
}

static int check_one(const struct lint_stream *command, const struct lint_streams *to)
{
    const struct protocol *protocol = command->protocol;
    struct arena arena;

    arena_init(&arena, ARENA_MAX, 4096, NULL);
    void *state = arena_zalloc(&arena, protocol->lint_size);
    protocol->lint_init(state, &(struct lint_options){.stream = !command->whole,
                                                      .array = command->array,
                                                      .arena = &arena});
    int code = check(command, state, &arena, to);
    protocol->lint_fini(state);
    arena_fini(&arena);
    return code;
}

/* All of them, whatever one has; the worst that was found. */
static int check_files(const struct lint_stream *command, FILE *out, FILE *err)
{
    int worst = LINT_STREAM_OK;

    for (int i = 0; i < command->files_n; i++) {
        const char *name = command->files[i];
        FILE *in = fopen(name, "re");
        int code = LINT_STREAM_USAGE;
        if (in == NULL) {
            (void)refuse(err, "cannot open ", name);
        } else {
            code = check_one(command, &(struct lint_streams){in, name, out, err});
            (void)fclose(in);
        }
        worst = code > worst ? code : worst;
    }
    return worst;
}

int lint_stream_run(int argc, char *const *argv, FILE *in, FILE *out, FILE *err)
{
    struct lint_stream command = {.protocol = NULL};

    if (!read_arguments(&command, argc, argv, err))
        return LINT_STREAM_USAGE;
    if (command.help) {
        print_usage(out);
        return LINT_STREAM_OK;
    }
    if (command.files_n > 0)
        return check_files(&command, out, err);
    return check_one(&command, &(struct lint_streams){in, NULL, out, err});
}
