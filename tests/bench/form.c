/* SPDX-License-Identifier: MIT */
#include "form.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAIRS 98 /* an assistant's and a tool's message each; four around them */
#define TOOLS 40

const char *const form_names[FORMS] = {
    [FORM_CHAT] = "chat",
    [FORM_ANTHROPIC] = "anthropic",
    [FORM_RESPONSES] = "responses",
    [FORM_GEMINI] = "gemini",
};

static const char hello[] = "Hello! How can I assist you today?";

static int find(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return i;
    }
    fprintf(stderr, "bench: no such form: %s\n", name);
    exit(2);
}

enum form form_find(const char *name)
{
    return (enum form)find(form_names, FORMS, name);
}

enum form_ask form_ask_find(const char *name)
{
    static const char *const names[FORM_ASKS] = {[FORM_SMALL] = "small", [FORM_AGENT] = "agent"};

    return (enum form_ask)find(names, FORM_ASKS, name);
}

/* ---- requests --------------------------------------------------------------------------- */

/* A message of text, as an element. */
static void add_message(struct shape_text *body, enum form form, bool user, uint32_t *seed,
                        size_t n)
{
    const char *role = user ? "user" : form == FORM_GEMINI ? "model" : "assistant";

    if (form == FORM_GEMINI)
        shape_add(body, "{\"role\":\"%s\",\"parts\":[{\"text\":\"", role);
    else if (form == FORM_RESPONSES)
        shape_add(body,
                  "{\"type\":\"message\",\"role\":\"%s\",\"content\":[{\"type\":\"%s\","
                  "\"text\":\"",
                  role, user ? "input_text" : "output_text");
    else if (form == FORM_ANTHROPIC)
        shape_add(body, "{\"role\":\"%s\",\"content\":[{\"type\":\"text\",\"text\":\"", role);
    else
        shape_add(body, "{\"role\":\"%s\",\"content\":\"", role);
    shape_add_prose(body, seed, n);
    shape_add(body, form == FORM_CHAT ? "\"}" : "\"}]}");
}

/* A call of a tool and its result: two messages. */
static void add_pair(struct shape_text *body, enum form form, uint32_t *seed, unsigned i)
{
    static const char args[] = "{%1$s\"path%1$s\":%1$s\"src/text/file_%2$u.c%1$s\","
                               "%1$s\"pattern%1$s\":%1$s\"return .*;%1$s\",%1$s\"limit%1$s\":%3$u}";
    char text[256];
    unsigned id = i * 2654435761u;

    snprintf(text, sizeof(text), args, form == FORM_CHAT || form == FORM_RESPONSES ? "\\" : "", i,
             10 + i);
    switch (form) {
    case FORM_CHAT:
        shape_add(body,
                  "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
                  "\"call_%08x\",\"type\":\"function\",\"function\":{\"name\":\"tool_%u\","
                  "\"arguments\":\"%s\"}}]},{\"role\":\"tool\",\"tool_call_id\":"
                  "\"call_%08x\",\"content\":\"",
                  id, i % TOOLS, text, id);
        break;
    case FORM_ANTHROPIC:
        shape_add(body,
                  "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":"
                  "\"toolu_%08x\",\"name\":\"tool_%u\",\"input\":%s}]},{\"role\":\"user\","
                  "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_%08x\","
                  "\"content\":\"",
                  id, i % TOOLS, text, id);
        break;
    case FORM_RESPONSES:
        shape_add(body,
                  "{\"type\":\"function_call\",\"call_id\":\"call_%08x\",\"name\":"
                  "\"tool_%u\",\"arguments\":\"%s\"},{\"type\":\"function_call_output\","
                  "\"call_id\":\"call_%08x\",\"output\":\"",
                  id, i % TOOLS, text, id);
        break;
    case FORM_GEMINI:
        shape_add(body,
                  "{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"id\":\"%08x\","
                  "\"name\":\"tool_%u\",\"args\":%s}}]},{\"role\":\"user\",\"parts\":[{"
                  "\"functionResponse\":{\"id\":\"%08x\",\"name\":\"tool_%u\",\"response\":{"
                  "\"output\":\"",
                  id, i % TOOLS, text, id, i % TOOLS);
        break;
    case FORMS:
        abort();
    }
    shape_add_prose(body, seed, i % 4 == 0 ? 900 : 370);
    shape_add(body, form == FORM_ANTHROPIC ? "\"}]}" : form == FORM_GEMINI ? "\"}}}]}" : "\"}");
}

static void add_tool(struct shape_text *body, enum form form, uint32_t *seed, unsigned i)
{
    static const char *const heads[FORMS] = {
        [FORM_CHAT] =
            "{\"type\":\"function\",\"function\":{\"name\":\"tool_%u\",\"description\":\"",
        [FORM_ANTHROPIC] = "{\"name\":\"tool_%u\",\"description\":\"",
        [FORM_RESPONSES] = "{\"type\":\"function\",\"strict\":false,\"name\":\"tool_%u\","
                           "\"description\":\"",
        [FORM_GEMINI] = "{\"name\":\"tool_%u\",\"description\":\"",
    };
    char head[128];

    /* The one conversion of each is the number. */
    snprintf(head, sizeof(head), "%s", heads[form]);
    char *at = strstr(head, "%u");
    assert(at != NULL);
    *at = '\0';
    shape_add(body, "%s%u%s", head, i, at + 2);
    shape_add_prose(body, seed, 150);
    shape_add(body,
              "\",\"%s\":{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\","
              "\"description\":\"",
              form == FORM_ANTHROPIC ? "input_schema" : "parameters");
    shape_add_prose(body, seed, 80);
    shape_add(body, "\"},\"pattern\":{\"type\":\"string\",\"description\":\"");
    shape_add_prose(body, seed, 40);
    shape_add(body,
              "\"},\"limit\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":%u},\"mode\":{"
              "\"type\":\"string\",\"enum\":[\"fast\",\"exact\"]}},\"required\":[\"path\"]}}",
              1000 + i);
    if (form == FORM_CHAT)
        shape_add(body, "}");
}

/* The system's text and what opens the list of messages. */
static void add_begin(struct shape_text *body, enum form form, uint32_t *seed, size_t n)
{
    static const char *const before[FORMS] = {
        [FORM_CHAT] = "\"messages\":[{\"role\":\"system\",\"content\":\"",
        [FORM_ANTHROPIC] = "\"max_tokens\":8192,\"system\":\"",
        [FORM_RESPONSES] = "\"store\":false,\"instructions\":\"",
        [FORM_GEMINI] = "\"systemInstruction\":{\"parts\":[{\"text\":\"",
    };
    static const char *const after[FORMS] = {
        [FORM_CHAT] = "\"},",
        [FORM_ANTHROPIC] = "\",\"messages\":[",
        [FORM_RESPONSES] = "\",\"input\":[",
        [FORM_GEMINI] = "\"}]},\"contents\":[",
    };

    shape_add(body, "%s", before[form]);
    shape_add_prose(body, seed, n);
    shape_add(body, "%s", after[form]);
}

static void add_end(struct shape_text *body, enum form form)
{
    static const char *const parameters[FORMS] = {
        [FORM_CHAT] = ",\"temperature\":0.2,\"max_completion_tokens\":8192",
        [FORM_ANTHROPIC] = ",\"temperature\":0.2",
        [FORM_RESPONSES] = ",\"temperature\":0.2,\"max_output_tokens\":8192",
        [FORM_GEMINI] = ",\"generationConfig\":{\"temperature\":0.2,\"maxOutputTokens\":8192}",
    };

    shape_add(body, "%s}", parameters[form]);
}

static struct shape_text request_body(enum form form, enum form_ask ask, enum shape_answer answer,
                                      const char *prefix)
{
    struct shape_text body = {0};
    uint32_t seed = 20240513;

    shape_add(&body, "{");
    if (form != FORM_GEMINI)
        shape_add(&body, "\"model\":\"%sbench-%s\",%s", prefix, shape_answer_names[answer],
                  answer == SHAPE_UNARY ? "" : "\"stream\":true,");
    add_begin(&body, form, &seed, ask == FORM_AGENT ? 7000 : 60);
    add_message(&body, form, true, &seed, ask == FORM_AGENT ? 600 : 300);
    if (ask == FORM_AGENT) {
        for (unsigned i = 0; i < PAIRS; i++) {
            shape_add(&body, ",");
            add_pair(&body, form, &seed, i);
        }
        shape_add(&body, ",");
        add_message(&body, form, false, &seed, 200);
        shape_add(&body, ",");
        add_message(&body, form, true, &seed, 200);
        shape_add(&body, "],\"tools\":[%s",
                  form == FORM_GEMINI ? "{\"functionDeclarations\":[" : "");
        for (unsigned i = 0; i < TOOLS; i++) {
            shape_add(&body, "%s", i == 0 ? "" : ",");
            add_tool(&body, form, &seed, i);
        }
        shape_add(&body, "%s", form == FORM_GEMINI ? "]}" : "");
    }
    shape_add(&body, "]");
    add_end(&body, form);
    return body;
}

struct shape_text form_request_http(enum form form, enum form_ask ask, enum shape_answer answer,
                                    const char *prefix, unsigned port)
{
    static const char *const paths[FORMS] = {
        [FORM_CHAT] = "/v1/chat/completions",
        [FORM_ANTHROPIC] = "/v1/messages",
        [FORM_RESPONSES] = "/v1/responses",
    };
    static const char *const keys[FORMS] = {
        [FORM_CHAT] = "Authorization: Bearer ",
        [FORM_ANTHROPIC] = "anthropic-version: 2023-06-01\r\nX-Api-Key: ",
        [FORM_RESPONSES] = "Authorization: Bearer ",
        [FORM_GEMINI] = "x-goog-api-key: ",
    };
    struct shape_text body = request_body(form, ask, answer, prefix);
    struct shape_text http = {0};
    char path[128];

    if (form == FORM_GEMINI)
        snprintf(path, sizeof(path), "/v1beta/models/%sbench-%s:%s", prefix,
                 shape_answer_names[answer],
                 answer == SHAPE_UNARY ? "generateContent" : "streamGenerateContent?alt=sse");
    else
        snprintf(path, sizeof(path), "%s", paths[form]);
    shape_add(&http,
              "POST %s HTTP/1.1\r\n"
              "Host: 127.0.0.1:%u\r\n"
              "Accept: application/json\r\n"
              "Content-Type: application/json\r\n"
              "User-Agent: bench/1.0\r\n"
              "%sbench-key-0123456789\r\n"
              "Accept-Encoding: gzip,deflate\r\n"
              "Connection: keep-alive\r\n"
              "Content-Length: %zu\r\n\r\n",
              path, port, keys[form], body.n);
    shape_add_bytes(&http, body.p, body.n);
    free(body.p);
    return http;
}

/* ---- whole answers ---------------------------------------------------------------------- */

struct shape_text form_unary(enum form form)
{
    struct shape_text body = {0};

    switch (form) {
    case FORM_CHAT:
        return shape_unary();
    case FORM_ANTHROPIC:
        shape_add(&body,
                  "{\"id\":\"msg_01XFDUDYJgAACzvnptvVoYEL\",\"type\":\"message\",\"role\":"
                  "\"assistant\",\"model\":\"claude-sonnet-4-20250514\",\"content\":[{\"type\":"
                  "\"text\",\"text\":\"%s\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,"
                  "\"usage\":{\"input_tokens\":119,\"cache_creation_input_tokens\":0,"
                  "\"cache_read_input_tokens\":0,\"output_tokens\":10,\"service_tier\":"
                  "\"standard\"}}",
                  hello);
        break;
    case FORM_RESPONSES:
        shape_add(&body,
                  "{\"id\":\"resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b\",\"object\":"
                  "\"response\",\"created_at\":1741476542,\"status\":\"completed\",\"error\":null,"
                  "\"incomplete_details\":null,\"instructions\":null,\"max_output_tokens\":null,"
                  "\"model\":\"gpt-4.1-2025-04-14\",\"output\":[{\"type\":\"message\",\"id\":"
                  "\"msg_67ccd2bf17f0819081ff3bb2cf6508e60bb6a6b452d3795b\",\"status\":"
                  "\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
                  "\"text\":\"%s\",\"annotations\":[]}]}],\"parallel_tool_calls\":true,"
                  "\"previous_response_id\":null,\"reasoning\":{\"effort\":null,\"summary\":null},"
                  "\"store\":false,\"temperature\":0.2,\"text\":{\"format\":{\"type\":\"text\"}},"
                  "\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,\"truncation\":\"disabled\","
                  "\"usage\":{\"input_tokens\":119,\"input_tokens_details\":{\"cached_tokens\":0},"
                  "\"output_tokens\":10,\"output_tokens_details\":{\"reasoning_tokens\":0},"
                  "\"total_tokens\":129},\"user\":null,\"metadata\":{}}",
                  hello);
        break;
    case FORM_GEMINI:
        shape_add(&body,
                  "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"%s\"}],\"role\":\"model\"}"
                  ",\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{"
                  "\"promptTokenCount\":119,\"candidatesTokenCount\":10,\"totalTokenCount\":129},"
                  "\"modelVersion\":\"gemini-2.5-flash\",\"responseId\":\"mAitaLmkHPPlz7IPvtfUqQ4\""
                  "}",
                  hello);
        break;
    case FORMS:
        abort();
    }
    return body;
}

/* ---- streams ---------------------------------------------------------------------------- */

struct script {
    int before; /* events before the first piece of text */
    int after;
};

static const struct script scripts[FORMS] = {
    [FORM_CHAT] = {1, 2},
    [FORM_ANTHROPIC] = {3, 3},
    [FORM_RESPONSES] = {4, 4},
    [FORM_GEMINI] = {0, 1},
};

static int pieces_of(enum form form)
{
    return SHAPE_EVENTS - scripts[form].before - scripts[form].after;
}

static void add_anthropic(struct shape_text *text, int i, const char *word)
{
    static const char *const before[] = {
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":"
        "\"msg_01XFDUDYJgAACzvnptvVoYEL\",\"type\":\"message\",\"role\":\"assistant\",\"model\":"
        "\"claude-sonnet-4-20250514\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
        "\"usage\":{\"input_tokens\":119,\"cache_creation_input_tokens\":0,"
        "\"cache_read_input_tokens\":0,\"output_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
        "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    };
    static const char *const after[] = {
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
        "\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":60}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    };

    if (word != NULL)
        shape_add(text,
                  "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                  "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" %s\"}}\n\n",
                  word);
    else
        shape_add(text, "%s", i < 3 ? before[i] : after[i - (SHAPE_EVENTS - 3)]);
}

#define RESPONSES_ID    "resp_67c9fdcecf488190bdd9a0409de3a1ec07b8b0ad4e5eb654"
#define RESPONSES_ITEM  "msg_67c9fdcf37fc8190ba82116e33fb28c507b8b0ad4e5eb654"
#define RESPONSES_PLACE "\"item_id\":\"" RESPONSES_ITEM "\",\"output_index\":0,\"content_index\":0"

static void add_response(struct shape_text *text, const char *event, int i, const char *status,
                         const char *output, bool usage)
{
    shape_add(text,
              "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%d,\"response\":{\"id\":"
              "\"" RESPONSES_ID "\",\"object\":\"response\",\"created_at\":1741290958,"
              "\"status\":\"%s\",\"error\":null,\"incomplete_details\":null,"
              "\"instructions\":null,\"max_output_tokens\":null,\"model\":"
              "\"gpt-4.1-2025-04-14\",\"output\":[",
              event, event, i, status);
    shape_add_bytes(text, output, strlen(output));
    shape_add(text,
              "],\"parallel_tool_calls\":true,\"previous_response_id\":null,\"reasoning\":{"
              "\"effort\":null,\"summary\":null},\"store\":false,\"temperature\":0.2,"
              "\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":["
              "],\"top_p\":1.0,\"truncation\":\"disabled\",\"usage\":%s,\"user\":null,"
              "\"metadata\":{}}}\n\n",
              usage ? "{\"input_tokens\":119,\"input_tokens_details\":{\"cached_tokens\":0},"
                      "\"output_tokens\":60,\"output_tokens_details\":{\"reasoning_tokens\":0},"
                      "\"total_tokens\":179}"
                    : "null");
}

static void add_responses(struct shape_text *text, int i, const char *word, const char *all)
{
    struct shape_text item = {0};

    if (word != NULL) {
        shape_add(text,
                  "event: response.output_text.delta\ndata: {\"type\":"
                  "\"response.output_text.delta\",\"sequence_number\":%d," RESPONSES_PLACE
                  ",\"delta\":\" %s\",\"logprobs\":[]}\n\n",
                  i, word);
        return;
    }
    shape_add(&item,
              "{\"type\":\"message\",\"id\":\"" RESPONSES_ITEM "\",\"status\":\"completed\","
              "\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"annotations\""
              ":[],\"text\":\"%s\"}]}",
              all);
    switch (i < 4 ? i : i - (SHAPE_EVENTS - 8)) {
    case 0:
        add_response(text, "response.created", i, "in_progress", "", false);
        break;
    case 1:
        add_response(text, "response.in_progress", i, "in_progress", "", false);
        break;
    case 2:
        shape_add(text,
                  "event: response.output_item.added\ndata: {\"type\":"
                  "\"response.output_item.added\",\"sequence_number\":%d,\"output_index\":0,"
                  "\"item\":{\"id\":\"" RESPONSES_ITEM "\",\"type\":\"message\",\"status\":"
                  "\"in_progress\",\"role\":\"assistant\",\"content\":[]}}\n\n",
                  i);
        break;
    case 3:
        shape_add(text,
                  "event: response.content_part.added\ndata: {\"type\":"
                  "\"response.content_part.added\",\"sequence_number\":%d," RESPONSES_PLACE
                  ",\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[]}}\n\n",
                  i);
        break;
    case 4:
        shape_add(text,
                  "event: response.output_text.done\ndata: {\"type\":"
                  "\"response.output_text.done\",\"sequence_number\":%d," RESPONSES_PLACE
                  ",\"text\":\"%s\",\"logprobs\":[]}\n\n",
                  i, all);
        break;
    case 5:
        shape_add(text,
                  "event: response.content_part.done\ndata: {\"type\":"
                  "\"response.content_part.done\",\"sequence_number\":%d," RESPONSES_PLACE
                  ",\"part\":{\"type\":\"output_text\",\"text\":\"%s\",\"annotations\":[]}}"
                  "\n\n",
                  i, all);
        break;
    case 6:
        shape_add(text,
                  "event: response.output_item.done\ndata: {\"type\":"
                  "\"response.output_item.done\",\"sequence_number\":%d,\"output_index\":0,"
                  "\"item\":%s}\n\n",
                  i, item.p);
        break;
    case 7:
        add_response(text, "response.completed", i, "completed", item.p, true);
        break;
    default:
        abort();
    }
    free(item.p);
}

static void add_gemini(struct shape_text *text, const char *word)
{
    shape_add(text,
              "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"%s%s\"}],\"role\":"
              "\"model\"}%s,\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":119,"
              "\"candidatesTokenCount\":60,\"totalTokenCount\":179},\"modelVersion\":"
              "\"gemini-2.5-flash\",\"responseId\":\"mAitaLmkHPPlz7IPvtfUqQ4\"}\r\n\r\n",
              word == NULL ? "" : " ", word == NULL ? "" : word,
              word == NULL ? ",\"finishReason\":\"STOP\"" : "");
}

struct shape_stream form_stream(enum form form)
{
    struct shape_stream stream = {0};
    struct shape_text all = {0};
    int n = pieces_of(form);

    if (form == FORM_CHAT)
        return shape_stream();
    for (int i = 0; i < n; i++)
        shape_add(&all, " %s", shape_word(i));
    for (int i = 0; i < SHAPE_EVENTS; i++) {
        int piece = i - scripts[form].before;
        const char *word = piece >= 0 && piece < n ? shape_word(piece) : NULL;

        if (form == FORM_ANTHROPIC)
            add_anthropic(&stream.text, i, word);
        else if (form == FORM_RESPONSES)
            add_responses(&stream.text, i, word, all.p);
        else
            add_gemini(&stream.text, word);
        stream.end[i] = stream.text.n;
    }
    free(all.p);
    return stream;
}

const char *const *form_needles(enum form client, enum form backend, enum shape_answer answer)
{
    static const char *needles[SHAPE_EVENTS + 2];
    static char quoted[SHAPE_EVENTS][64];
    static const char *const ends[FORMS] = {
        [FORM_CHAT] = "data: [DONE]",
        [FORM_ANTHROPIC] = "event: message_stop",
        [FORM_RESPONSES] = "event: response.completed",
        [FORM_GEMINI] = "\"finishReason\":\"STOP\"",
    };
    int n = answer == SHAPE_UNARY ? 1 : pieces_of(backend);

    for (int i = 0; i < n; i++) {
        if (answer == SHAPE_UNARY)
            snprintf(quoted[i], sizeof(quoted[i]), "\"%s\"", hello);
        else
            snprintf(quoted[i], sizeof(quoted[i]), "\" %s\"", shape_word(i));
        needles[i] = quoted[i];
    }
    /* A whole body may say how it ended before it says what. */
    needles[n] = answer == SHAPE_UNARY ? NULL : ends[client];
    needles[n + 1] = NULL;
    return needles;
}
