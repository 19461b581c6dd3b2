/* SPDX-License-Identifier: MIT */
#include "shape.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_BYTES  600
#define PROMPT_TURNS 79 /* an assistant and a tool message each, and three around them */
#define PROMPT_TOOLS 40

const char *const shape_answer_names[SHAPE_ANSWERS] = {
    [SHAPE_UNARY] = "unary", [SHAPE_BURST] = "burst",   [SHAPE_PACED] = "paced",
    [SHAPE_FIRST] = "first", [SHAPE_SILENT] = "silent",
};

const char *const shape_request_names[SHAPE_REQUESTS] = {
    [SHAPE_SMALL] = "small",
    [SHAPE_PROMPT] = "prompt",
};

static const char *const words[] = {
    "the",     "parser",  "keeps",  "a",        "cursor",    "into",  "buffer", "and",
    "returns", "when",    "input",  "is",       "short",     "so",    "caller", "reads",
    "again",   "without", "losing", "position", "of",        "token", "that",   "was",
    "begun",   "before",  "this",   "function", "allocates", "once",  "per",    "line",
};

static const char *const verbs[] = {
    "read", "write", "search", "list", "run", "edit", "move", "inspect",
};

static const char *const nouns[] = {
    "file", "folder", "symbol", "process", "commit",
};

static int find(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return i;
    }
    fprintf(stderr, "bench: no such shape: %s\n", name);
    exit(2);
}

enum shape_answer shape_answer_find(const char *name)
{
    return (enum shape_answer)find(shape_answer_names, SHAPE_ANSWERS, name);
}

enum shape_request shape_request_find(const char *name)
{
    return (enum shape_request)find(shape_request_names, SHAPE_REQUESTS, name);
}

void shape_add_bytes(struct shape_text *text, const void *bytes, size_t n)
{
    /* One more, so that it is a C string, too. */
    if (text->size - text->n <= n) {
        text->size = (text->n + n + 1) * 2;
        text->p = realloc(text->p, text->size);
        if (text->p == NULL)
            abort();
    }
    memcpy(text->p + text->n, bytes, n);
    text->n += n;
    text->p[text->n] = '\0';
}

void shape_add(struct shape_text *text, const char *format, ...)
{
    char line[4096];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    assert(n >= 0 && (size_t)n < sizeof(line));
    shape_add_bytes(text, line, (size_t)n);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

/* About `n` bytes of prose and code, as they stand inside a JSON string. */
void shape_add_prose(struct shape_text *text, uint32_t *seed, size_t n)
{
    size_t end = text->n + n;

    while (text->n < end) {
        uint32_t r = next_random(seed);

        shape_add(text, "%s", words[r % 32]);
        switch (r % 41) {
        case 0:
            shape_add(text, ".\\n\\n    if (n < size)\\n        return \\\"short\\\";\\n");
            break;
        case 1:
            shape_add(text, " \xe2\x80\x94 src/text/file_%u.c:%u ", r % 90, r % 700);
            break;
        case 2:
            shape_add(text, ".\\n- ");
            break;
        case 3:
            shape_add(text, "\\t{\\\"line\\\": %u, \\\"ok\\\": true}\\n", r % 900);
            break;
        default:
            shape_add(text, " ");
            break;
        }
    }
}

static void add_tool(struct shape_text *body, uint32_t *seed, unsigned i)
{
    shape_add(body, "%s{\"type\":\"function\",\"function\":{\"name\":\"%s_%s\",\"description\":\"",
              i == 0 ? "" : ",", verbs[i % 8], nouns[i / 8]);
    shape_add_prose(body, seed, 150);
    shape_add(body, "\",\"parameters\":{\"type\":\"object\",\"properties\":{"
                    "\"path\":{\"type\":\"string\",\"description\":\"");
    shape_add_prose(body, seed, 80);
    shape_add(body, "\"},\"pattern\":{\"type\":\"string\",\"description\":\"");
    shape_add_prose(body, seed, 40);
    shape_add(body,
              "\"},\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":%u,"
              "\"default\":50},\"mode\":{\"type\":\"string\",\"enum\":[\"fast\",\"exact\"]}},"
              "\"required\":[\"path\"],\"additionalProperties\":false},\"strict\":false}}",
              1000 + i);
}

static void add_turn(struct shape_text *body, uint32_t *seed, unsigned i)
{
    shape_add(body, ",{\"role\":\"assistant\",\"content\":");
    if (i % 3 == 0) {
        shape_add(body, "\"");
        shape_add_prose(body, seed, 180);
        shape_add(body, "\"");
    } else {
        shape_add(body, "null");
    }
    shape_add(body,
              ",\"tool_calls\":[{\"id\":\"call_%08x%08x\",\"type\":\"function\",\"function\":"
              "{\"name\":\"%s_%s\",\"arguments\":\"{\\\"path\\\":\\\"src/text/file_%u.c\\\","
              "\\\"pattern\\\":\\\"return .*;\\\",\\\"limit\\\":%u}\"}}]}",
              i, i * 2654435761u, verbs[i % 8], nouns[i % 5], i, 10 + i);
    shape_add(body, ",{\"role\":\"tool\",\"tool_call_id\":\"call_%08x%08x\",\"content\":\"", i,
              i * 2654435761u);
    shape_add_prose(body, seed, i % 4 == 0 ? 900 : 320);
    shape_add(body, "\"}");
}

static void add_prompt(struct shape_text *body)
{
    uint32_t seed = 20240513;

    shape_add(body, "\"messages\":[{\"role\":\"system\",\"content\":\"");
    shape_add_prose(body, &seed, 7000);
    shape_add(body, "\"},{\"role\":\"user\",\"content\":\"");
    shape_add_prose(body, &seed, 600);
    shape_add(body, "\"}");
    for (unsigned i = 0; i < PROMPT_TURNS; i++)
        add_turn(body, &seed, i);
    shape_add(body, ",{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"");
    shape_add_prose(body, &seed, 300);
    shape_add(body, "\"}]}],\"tools\":[");
    for (unsigned i = 0; i < PROMPT_TOOLS; i++)
        add_tool(body, &seed, i);
    shape_add(body, "],\"tool_choice\":\"auto\",\"parallel_tool_calls\":true,"
                    "\"temperature\":0.2,\"max_completion_tokens\":8192");
}

static void add_small(struct shape_text *body)
{
    static const char tail[] = "\"}],\"temperature\":0.7,\"max_tokens\":256";
    uint32_t seed = 7;

    shape_add(body, "\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant. "
                    "Answer in one sentence.\"},{\"role\":\"user\",\"content\":\"");
    /* Filled up to the exact size with whole words; what is left over becomes full stops. */
    while (body->n + sizeof(tail) < SMALL_BYTES - 12)
        shape_add(body, "%s ", words[next_random(&seed) % 32]);
    while (body->n + sizeof(tail) < SMALL_BYTES)
        shape_add(body, ".");
    shape_add_bytes(body, tail, sizeof(tail) - 1);
}

struct shape_text shape_request_body(enum shape_request request, enum shape_answer answer)
{
    struct shape_text body = {0};

    shape_add(&body, "{\"model\":\"bench-%s\",", shape_answer_names[answer]);
    if (answer != SHAPE_UNARY)
        shape_add(&body, "\"stream\":true,");
    if (request == SHAPE_PROMPT)
        add_prompt(&body);
    else
        add_small(&body);
    shape_add(&body, "}");
    assert(request == SHAPE_PROMPT || body.n == SMALL_BYTES);
    return body;
}

struct shape_text shape_request_http(enum shape_request request, enum shape_answer answer,
                                     unsigned port)
{
    struct shape_text body = shape_request_body(request, answer);
    struct shape_text http = {0};

    shape_add(&http,
              "POST /v1/chat/completions HTTP/1.1\r\n"
              "Host: 127.0.0.1:%u\r\n"
              "Accept: application/json\r\n"
              "Content-Type: application/json\r\n"
              "User-Agent: OpenAI/JS 4.104.0\r\n"
              "X-Stainless-Retry-Count: 0\r\n"
              "X-Stainless-Lang: js\r\n"
              "X-Stainless-Package-Version: 4.104.0\r\n"
              "X-Stainless-OS: Linux\r\n"
              "X-Stainless-Arch: x64\r\n"
              "X-Stainless-Runtime: node\r\n"
              "X-Stainless-Runtime-Version: v20.19.0\r\n"
              "Authorization: Bearer bench-key-0123456789\r\n"
              "Accept-Encoding: gzip,deflate\r\n"
              "Connection: keep-alive\r\n"
              "Content-Length: %zu\r\n\r\n",
              port, body.n);
    shape_add_bytes(&http, body.p, body.n);
    free(body.p);
    return http;
}

struct shape_text shape_unary(void)
{
    struct shape_text body = {0};

    shape_add(&body,
              "{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion\","
              "\"created\":1741569952,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{"
              "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello! How can I "
              "assist you today?\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,"
              "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":119,"
              "\"completion_tokens\":10,\"total_tokens\":129,\"prompt_tokens_details\":{"
              "\"cached_tokens\":0,\"audio_tokens\":0},\"completion_tokens_details\":{"
              "\"reasoning_tokens\":0,\"audio_tokens\":0}},\"service_tier\":\"default\"}");
    return body;
}

struct shape_text shape_models(void)
{
    struct shape_text body = {0};

    shape_add(&body, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < SHAPE_ANSWERS; i++) {
        shape_add(&body,
                  "%s{\"id\":\"bench-%s\",\"object\":\"model\",\"created\":1741569952,"
                  "\"owned_by\":\"bench\"}",
                  i == 0 ? "" : ",", shape_answer_names[i]);
    }
    shape_add(&body, "]}");
    return body;
}

const char *shape_word(int i)
{
    uint32_t seed = 11;
    uint32_t r = next_random(&seed);

    while (i-- > 0)
        r = next_random(&seed);
    return words[r % 32];
}

struct shape_stream shape_stream(void)
{
    struct shape_stream stream = {0};

    for (int i = 0; i < SHAPE_EVENTS; i++) {
        static const char head[] = "data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\","
                                   "\"object\":\"chat.completion.chunk\",\"created\":1741570283,"
                                   "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":";

        if (i == SHAPE_EVENTS - 1) {
            shape_add(&stream.text, "data: [DONE]\n\n");
        } else if (i == SHAPE_EVENTS - 2) {
            shape_add(&stream.text, "%s{},\"finish_reason\":\"stop\"}]}\n\n", head);
        } else if (i == 0) {
            shape_add(&stream.text,
                      "%s{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},"
                      "\"finish_reason\":null}]}\n\n",
                      head);
        } else {
            shape_add(&stream.text, "%s{\"content\":\" %s\"},\"finish_reason\":null}]}\n\n", head,
                      shape_word(i - 1));
        }
        stream.end[i] = stream.text.n;
    }
    return stream;
}
