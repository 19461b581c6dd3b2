/* SPDX-License-Identifier: MIT */
/*
 * What      The arguments of debug-stream, and its request: the protocol by the URL's path, the
 *           key, the prompt.
 * How       arguments -> URL (a base becomes that of Chat Completions) -> protocol -> key, prompt
 *           -> head and body.
 * Not here  Asking (debug_stream).
 */
#include "cli/debug_ask.h"

#include <unistd.h>

#include "io/address.h"
#include "text/json.h"

enum { PROMPT_BYTES_MAX = 8 * 1024 * 1024, KEY_BYTES_MAX = 256, TIMEOUT_S = 300, HEAD_MAX = 16384 };

static const char usage[] =
    "llm-proxy debug-stream [OPTION]... [PROMPT]\n\n"
    "Asks for a stream and prints each event with the milliseconds since the request and since\n"
    "the event before it. Without a PROMPT it is read from the standard input, unless that is a\n"
    "terminal.\n\n"
    "  --url URL        http://127.0.0.1:8000. A URL without a path, or one that ends in /v1, is\n"
    "                   asked for chat completions; paths of the other protocols work as well:\n"
    "                   .../v1/messages, .../v1/responses, .../models/M:streamGenerateContent\n"
    "  --model M        none: the model that the proxy has as its default\n"
    "  --protocol P     openai-chat, openai-responses, anthropic, gemini; none: by the path\n"
    "  --api-key K      none: of LLM_INTERACTIVE_PROXY_API_KEY; for a proxy on this machine else\n"
    "                   of DIR/client.key\n"
    "  --data-dir DIR   the proxy's data_dir; ./data\n"
    "  --ca-file FILE   certificates (PEM) that an https proxy is verified against\n"
    "  --insecure       any certificate will do\n"
    "  --timeout S      how many seconds of silence are an error; 300\n\n"
    "Exit code 0: the stream came to its end; 1: it did not: there was an error, no answer, or\n"
    "something that the protocol does not allow; 2: nothing was asked; 130: interrupted.\n";

void debug_ask_usage(FILE *to)
{
    (void)fputs(usage, to);
}

static bool refuse(FILE *err, const char *why, const char *what)
{
    (void)fprintf(err, "debug-stream: %s%s; see llm-proxy debug-stream --help\n", why, what);
    return false;
}

static bool take_timeout(struct debug_ask *ask, const char *text, FILE *err)
{
    int64_t s = 0;

    if (!str_to_int64(str_c(text), &s) || s < 1 || s > 24 * 3600)
        return refuse(err, "--timeout needs seconds, 1 to 86400, not ", text);
    ask->timeout_ms = s * 1000;
    return true;
}

/* Where the value of an option goes; NULL: it is none. */
static const char **place_of(struct debug_ask *ask, struct str name)
{
    const struct {
        const char *name;
        const char **place;
    } places[] = {
        {"--url", &ask->url_text},           {"--model", &ask->model},
        {"--protocol", &ask->protocol_name}, {"--api-key", &ask->key},
        {"--data-dir", &ask->data_dir},      {"--ca-file", &ask->ca_file},
    };

    for (size_t i = 0; i < COUNT_OF(places); i++) {
        if (str_eq(name, str_c(places[i].name)))
            return places[i].place;
    }
    return NULL;
}

static bool take_flag(struct debug_ask *ask, struct str name)
{
    if (str_eq(name, STR("--help")) || str_eq(name, STR("-h")))
        ask->help = true;
    else if (str_eq(name, STR("--insecure")))
        ask->insecure = true;
    else
        return false;
    return true;
}

/* *i: the argument's place; an option's value may stand in the next. */
static bool take_option(struct debug_ask *ask, int argc, char *const *argv, int *i, FILE *err)
{
    const char *text = argv[*i];
    struct str name = str_c(text);
    size_t equals = str_find_char(name, '=', 0);
    const char *value = NULL;

    if (take_flag(ask, name))
        return true;
    if (equals != SIZE_MAX) {
        value = text + equals + 1;
        name = str_head(name, equals);
    }
    const char **place = place_of(ask, name);
    bool timeout = str_eq(name, STR("--timeout"));
    if (place == NULL && !timeout)
        return refuse(err, "unknown argument ", text);
    if (value == NULL && *i + 1 == argc)
        return refuse(err, text, " needs a value");
    if (value == NULL)
        value = argv[++*i];
    if (timeout)
        return take_timeout(ask, value, err);
    *place = value;
    return true;
}

bool debug_ask_arguments(struct debug_ask *ask, int argc, char *const *argv, FILE *err)
{
    bool options = true;

    *ask = (struct debug_ask){
        .url_text = "http://127.0.0.1:8000",
        .data_dir = "./data",
        .timeout_ms = TIMEOUT_S * 1000,
    };
    for (int i = 0; i < argc; i++) {
        if (options && str_eq(str_c(argv[i]), STR("--"))) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!take_option(ask, argc, argv, &i, err))
                return false;
        } else if (ask->prompt != NULL) {
            return refuse(err, "there is more than one PROMPT (quote it): ", argv[i]);
        } else {
            ask->prompt = argv[i];
        }
    }
    if (ask->protocol_name != NULL && protocol_find(str_c(ask->protocol_name)) == NULL)
        return refuse(err, "unknown protocol ", ask->protocol_name);
    return true;
}

/* --- whom ---------------------------------------------------------------------------------- */

static const char *protocol_by_path(struct str path)
{
    if (str_ends(path, STR("/messages")))
        return "anthropic";
    if (str_ends(path, STR("/responses")))
        return "openai-responses";
    if (str_ends(path, STR("GenerateContent")) || str_ends(path, STR("/v1beta")))
        return "gemini";
    return "openai-chat";
}

/* What a base's path lacks. */
static struct str path_of(const struct debug_ask *ask, struct arena *arena)
{
    struct str path = ask->url.path;
    struct str name = str_c(ask->protocol->name);
    bool gemini = str_eq(name, STR("gemini"));

    if (path.n > 0 && !str_ends(path, STR("/v1")) && !str_ends(path, STR("/v2")) &&
        !str_ends(path, STR("/v1beta")))
        return path;
    if (path.n == 0)
        path = gemini ? STR("/v1beta") : STR("/v1");
    if (gemini)
        return str_print(arena, "%.*s/models/%.*s:streamGenerateContent", STR_ARG(path),
                         STR_ARG(url_encode(str_c(ask->model == NULL ? "default" : ask->model), "",
                                            arena)));
    return str_print(arena, "%.*s/%s", STR_ARG(path),
                     str_eq(name, STR("anthropic"))          ? "messages"
                     : str_eq(name, STR("openai-responses")) ? "responses"
                                                             : "chat/completions");
}

static enum error_code take_url(struct debug_ask *ask, struct arena *arena, struct error *e)
{
    TRY(url_parse(str_c(ask->url_text), arena, &ask->url, e));
    const char *name = ask->protocol_name;
    ask->protocol = protocol_find(str_c(name == NULL ? protocol_by_path(ask->url.path) : name));
    assert(ask->protocol != NULL);
    struct str query = ask->url.query;
    if (str_is_null(query) && str_eq(str_c(ask->protocol->name), STR("gemini")))
        query = STR("alt=sse");
    ask->target = str_print(arena, "%.*s%s%.*s", STR_ARG(path_of(ask, arena)),
                            query.n > 0 ? "?" : "", STR_ARG(query));
    ask->shown = str_print(arena, "%s://%.*s%.*s", ask->url.https ? "https" : "http",
                           STR_ARG(url_authority(&ask->url, arena)), STR_ARG(ask->target));
    return OK;
}

/* The first line of the file that the proxy made its client key in; null: there is none. It is for
 * that proxy, on this machine, and goes nowhere else. */
static struct str key_of_file(const struct debug_ask *ask, struct arena *arena)
{
    char line[KEY_BYTES_MAX];
    struct str path = str_print(arena, "%s/client.key", ask->data_dir);
    struct str key = STR_NULL;

    if (!address_names_loopback(ask->url.host))
        return STR_NULL;
    FILE *file = fopen(str_z(arena, path), "re");
    if (file == NULL)
        return STR_NULL;
    if (fgets(line, sizeof(line), file) != NULL)
        key = str_copy(arena, str_trim(str_c(line)));
    (void)fclose(file);
    return key;
}

static struct str find_key(const struct debug_ask *ask, struct arena *arena)
{
    const char *named = getenv("LLM_INTERACTIVE_PROXY_API_KEY");

    if (ask->key != NULL)
        return str_c(ask->key);
    if (named != NULL && named[0] != '\0')
        return str_c(named);
    return key_of_file(ask, arena);
}

/* --- what ---------------------------------------------------------------------------------- */

static enum error_code read_prompt(const struct debug_ask *ask, FILE *in, struct buf *prompt,
                                   struct error *e)
{
    char piece[4096];

    if (ask->prompt != NULL) {
        (void)buf_add(prompt, str_c(ask->prompt));
    } else if (isatty(fileno(in)) == 0) {
        for (size_t n = 1; n > 0;) {
            n = fread(piece, 1, sizeof(piece), in);
            (void)buf_add(prompt, str_of(piece, n));
        }
    }
    if (!buf_ok(prompt))
        return FAIL(e, ERR_TOO_LARGE, "the prompt is larger than %d bytes", PROMPT_BYTES_MAX);
    if (prompt->n > 0 && prompt->p[prompt->n - 1] == '\n')
        prompt->n--; /* the last line's end */
    if (str_trim(buf_str(prompt)).n == 0) {
        buf_reset(prompt);
        (void)buf_add(prompt, STR("Hello"));
    }
    return OK;
}

static void add_model(const struct debug_ask *ask, struct buf *body)
{
    if (ask->model == NULL)
        return;
    (void)buf_add(body, STR("\"model\":"));
    (void)json_add_string(body, str_c(ask->model));
    (void)buf_add_char(body, ',');
}

static void write_body(const struct debug_ask *ask, struct str prompt, struct buf *body)
{
    struct str name = str_c(ask->protocol->name);

    (void)buf_add_char(body, '{');
    if (str_eq(name, STR("gemini"))) {
        (void)buf_add(body, STR("\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":"));
        (void)json_add_string(body, prompt);
        (void)buf_add(body, STR("}]}]}"));
        return;
    }
    add_model(ask, body);
    if (str_eq(name, STR("openai-responses"))) {
        (void)buf_add(body, STR("\"stream\":true,\"input\":"));
        (void)json_add_string(body, prompt);
        (void)buf_add_char(body, '}');
        return;
    }
    if (str_eq(name, STR("anthropic")))
        (void)buf_add(body, STR("\"max_tokens\":4096,"));
    (void)buf_add(body, STR("\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":"));
    (void)json_add_string(body, prompt);
    (void)buf_add(body, STR("}]}"));
}

/* What would be more than a header's value. */
static bool is_value(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        if ((unsigned char)key.p[i] <= 0x20 || (unsigned char)key.p[i] >= 0x7f)
            return false;
    }
    return true;
}

static enum error_code write_head(struct debug_ask *ask, struct arena *arena, struct error *e)
{
    struct str key = find_key(ask, arena);
    struct buf head;

    if (!is_value(key))
        return FAIL(e, ERR_BAD_REQUEST, "the key has blanks, or what is no ASCII");
    ask->has_key = key.n > 0;
    buf_init(&head, HEAD_MAX);
    (void)buf_print(&head,
                    "POST %.*s HTTP/1.1\r\nhost: %.*s\r\nuser-agent: llm-proxy-debug-stream\r\n"
                    "accept: text/event-stream\r\ncontent-type: application/json\r\n"
                    "content-length: %zu\r\n",
                    STR_ARG(ask->target), STR_ARG(url_authority(&ask->url, arena)), ask->body.n);
    if (key.n > 0)
        (void)buf_print(&head, "authorization: Bearer %.*s\r\n", STR_ARG(key));
    if (str_eq(str_c(ask->protocol->name), STR("anthropic")))
        (void)buf_add(&head, STR("anthropic-version: 2023-06-01\r\n"));
    (void)buf_add(&head, STR("\r\n"));
    if (buf_ok(&head))
        ask->head = str_copy(arena, buf_str(&head));
    else
        FAIL(e, ERR_BAD_REQUEST, "the URL, or the key, is too long");
    buf_fini(&head);
    return str_is_null(ask->head) ? e->code : OK;
}

enum error_code debug_ask_make(struct debug_ask *ask, FILE *in, struct arena *arena,
                               struct error *e)
{
    struct buf prompt;
    struct buf body;

    TRY(take_url(ask, arena, e));
    buf_init(&prompt, PROMPT_BYTES_MAX);
    buf_init(&body, 7 * (size_t)PROMPT_BYTES_MAX); /* escapes make six bytes of one */
    if (read_prompt(ask, in, &prompt, e) == OK) {
        write_body(ask, buf_str(&prompt), &body);
        assert(buf_ok(&body));
        ask->body = str_copy(arena, buf_str(&body));
    }
    buf_fini(&prompt);
    buf_fini(&body);
    if (str_is_null(ask->body))
        return e->code;
    return write_head(ask, arena, e);
}
