/* SPDX-License-Identifier: MIT */
/*
 * What      The answers of the demo's `assistant`: a topic's words are looked for in the message,
 *           and the topic with the most hits answers; without any, the overview does.
 * Owns      Constants only.
 */
#include "backend/demo_text.h"

#define SELF "I am the proxy's built-in demo, not a language model: I only know this proxy.\n\n"

static const char overview[] = SELF
    "Your request went the whole way: client key checked, request decoded, backend chosen, answer "
    "streamed. To get answers from a real model, give the proxy a backend:\n\n"
    "    export OPENAI_API_KEY=sk-...\n"
    "    make run\n\n"
    "Ask me about: an SDK, provider keys, the config file, a local server, model names, "
    "streaming, client keys, metrics and health, errors, commands, or what works. The model `echo` "
    "says your message back, which is handy for tests.\n";

static const char sdk[] = SELF
    "Any OpenAI SDK works: give it the proxy as its base URL and a client key of the proxy. "
    "Anthropic's and Google's SDKs take the same URL without /v1 (docs/clients).\n\n"
    "Python:\n\n"
    "    from openai import OpenAI\n"
    "    client = OpenAI(base_url=\"http://127.0.0.1:8000/v1\", api_key=\"CLIENT_KEY\")\n"
    "    stream = client.chat.completions.create(\n"
    "        model=\"demo:assistant\", stream=True,\n"
    "        messages=[{\"role\": \"user\", \"content\": \"Hello\"}])\n\n"
    "Node:\n\n"
    "    const client = new OpenAI({ baseURL: \"http://127.0.0.1:8000/v1\", apiKey: "
    "\"CLIENT_KEY\" });\n\n"
    "Others read the variables OPENAI_BASE_URL and OPENAI_API_KEY. With curl:\n\n"
    "    curl -N http://127.0.0.1:8000/v1/chat/completions \\\n"
    "      -H 'Authorization: Bearer CLIENT_KEY' -H 'Content-Type: application/json' \\\n"
    "      -d '{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n\n"
    "`make run` prints where it listens.\n";

static const char provider_key[] = SELF
    "A provider's key makes its backend. In the environment, or in a file named .env:\n\n"
    "    OPENAI_API_KEY=sk-...\n\n"
    "ANTHROPIC_API_KEY and GEMINI_API_KEY make the backends anthropic and gemini. Several keys: "
    "OPENAI_API_KEY_1 to OPENAI_API_KEY_20. Another URL: OPENAI_API_BASE_URL. In config.yaml:\n\n"
    "    backends:\n"
    "      openai:\n"
    "        api_keys:\n"
    "          default: ${OPENAI_API_KEY}\n\n"
    "Write keys without quotes or blanks around them. Then start the proxy again. Provider keys "
    "stay in the proxy: clients never see them, and no log holds one.\n";

static const char config_file[] = SELF
    "The proxy reads ./config.yaml, or the file named by --config. Begin with the example:\n\n"
    "    cp config.example.yaml config.yaml\n"
    "    build/release/llm-proxy --check-config\n\n"
    "--check-config names every fault with line, column and the nearest valid key. "
    "--print-config shows each option, its value, and whether it comes from the command line, the "
    "environment, .env, the file or the default (earlier wins). All options: --manual config, "
    "or docs/CONFIGURATION.md.\n";

static const char local_server[] = SELF
    "Any server that speaks a known protocol (openai-chat, openai-responses, anthropic, gemini) is "
    "a backend of three lines, for example a vLLM, Ollama or llama.cpp on your own machine:\n\n"
    "    backends:\n"
    "      local:\n"
    "        protocol: openai-chat\n"
    "        api_url: http://127.0.0.1:11434/v1\n\n"
    "The version in the URL may be left out. No key is needed where the server wants none. Its "
    "models are then local:NAME.\n";

static const char models[] = SELF
    "A model is named backend:model, for example openai:gpt-4o or demo:echo; backend/model works "
    "too. A name without a configured backend in front is a model of the default backend: the one "
    "of --default-backend, LLM_BACKEND or default_backend in the config, else the first that is "
    "functional. GET /v1/models lists what there is.\n\n"
    "I have two: assistant (this one, the default) and echo.\n";

static const char streaming[] = SELF
    "Send \"stream\": true and the words arrive one by one, as this answer shows; with curl add "
    "-N. Between a client and a backend of the same protocol the bytes of a stream pass "
    "unchanged, event for event, at the moment they come. Usage comes at the end when you ask "
    "for it: \"stream_options\": {\"include_usage\": true}. When a client leaves, the request to "
    "the backend is cancelled at once. When a backend breaks off, you get an error event, never "
    "an end that looks like success. proxy_timeout (300 s) says how long a backend may be "
    "silent.\n";

static const char client_key[] = SELF
    "Clients show a key of the proxy's own as Authorization: Bearer KEY, x-api-key, api-key or "
    "x-goog-api-key. Without any configured, one was made at the first start and is kept in "
    "./data/client.key; `make run` shows it on the terminal. Your own keys: api_keys in "
    "config.yaml, or\n\n"
    "    API_KEYS=first-key,second-key\n\n"
    "For tests on one machine, --disable-auth asks for none and listens on loopback only.\n";

static const char health[] = SELF
    "GET /healthz says that the process lives, GET /readyz that a backend is functional; both "
    "need no key. GET /metrics is Prometheus text: requests, errors, streams, tokens and bytes "
    "per backend (docs/METRICS.md). The log is logfmt on standard error, one line for each "
    "request; --log-level debug shows more.\n";

static const char errors[] = SELF
    "Errors of the proxy have the shape of the protocol that you speak and begin with a fixed "
    "text: Unauthorized (the client key), Unknown backend (the part before the colon of the "
    "model), No functional backends available (no provider key), Could not connect and "
    "Connection timeout (the backend). A backend's own error reaches you as it was sent, or, "
    "when it speaks another protocol, with its words in yours. docs/ERRORS.md lists them, "
    "--check-config finds faults of the configuration, and --log-level debug tells more.\n";

static const char commands[] = SELF
    "A message may hold commands, and the proxy answers them itself: !/help lists them, "
    "!/set(model=demo:echo) changes the model of this session, !/oneoff(demo:echo) that of the "
    "next answer, !/status says what is in force. What stands beside a command goes to the model, "
    "without it. A session is known by the header x-session-id, or by how its conversation "
    "begins; session: repository: file keeps it over a restart. docs/COMMANDS.md has all "
    "commands.\n";

static const char what_works[] = SELF
    "In this version: OpenAI's Chat Completions (POST /v1/chat/completions) and Responses (POST "
    "/v1/responses), Anthropic's Messages (POST /v1/messages) and Gemini (POST "
    "/v1beta/models/...), streamed or not, with tools, images and reasoning, each to any backend; "
    "counts of tokens and lists of models in each protocol's shape; OpenAI, Anthropic, Gemini, any "
    "server that speaks one of these, and this demo as backends; client keys; configuration by "
    "file, environment and command line; sessions, and commands in the chat; health, readiness and "
    "metrics. Not yet: embeddings and the other paths, failover, limits, a dashboard.\n\n"
    "Options of features that are not built yet are accepted and named in a warning at start; "
    "docs/CONFIGURATION.md lists them.\n";

/* Words are lower-case and lie between blanks, so that each can be looked for as " word ". */
static const struct topic {
    const char *words;
    const char *text;
} topics[] = {
    {" sdk sdks python node javascript typescript curl client library langchain base_url baseurl "
     "connect integrate point ",
     sdk},
    {" provider vendor openai openai_api_key real secret rotate provider's ", provider_key},
    {" config configure configuration configured yaml option options setting settings file env "
     "dotenv ",
     config_file},
    {" local ollama vllm llama lmstudio server self-hosted custom compatible api_url backend "
     "backends ",
     local_server},
    {" model models default_backend prefix echo assistant list ", models},
    {" stream streams streaming streamed sse chunk chunks words events timeout ", streaming},
    {" auth authentication authorization unauthorized bearer 401 token login client_key password "
     "disable-auth ",
     client_key},
    {" metrics prometheus health healthz ready readyz monitor monitoring log logs logging ",
     health},
    {" error errors fail fails failed failing wrong broken problem troubleshoot 502 503 504 400 ",
     errors},
    {" command commands session sessions steer interactive oneoff one-off temperature project ",
     commands},
    {" works work feature features version status support supported supports roadmap ", what_works},
};

enum {
    WORD_MAX = 32,
    /* So much of a message's beginning, and of its end, says what it is about. */
    LOOKED_AT_BYTES = 2048,
};

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '\'';
}

static char lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}

static void count_word(struct str word, size_t hits[COUNT_OF(topics)])
{
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        if (str_find(str_c(topics[i].words), word, 0) != SIZE_MAX)
            hits[i]++;
    }
}

/* "key" alone may mean either side's: it decides only when nothing else does. */
static const char *text_of(const size_t hits[COUNT_OF(topics)], bool key, bool own)
{
    size_t best = COUNT_OF(topics);
    size_t most = 0;

    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        if (hits[i] > most) {
            most = hits[i];
            best = i;
        }
    }
    if (key && (best == COUNT_OF(topics) || topics[best].text == sdk) && own)
        return client_key;
    if (key && best == COUNT_OF(topics))
        return provider_key;
    return best < COUNT_OF(topics) ? topics[best].text : overview;
}

/* What was found so far in a message. */
struct found {
    size_t hits[COUNT_OF(topics)];
    bool key;
    bool own;
};

static void look_at(struct str message, struct found *found)
{
    char word[WORD_MAX + 2] = {' '};
    size_t n = 1;

    for (size_t i = 0; i <= message.n; i++) {
        char c = i < message.n ? lower(message.p[i]) : ' ';
        if (is_word_char(c)) {
            if (n <= WORD_MAX)
                word[n++] = c;
            continue;
        }
        if (n > 2 && n <= WORD_MAX) {
            word[n] = ' ';
            struct str bare = str_of(word + 1, n - 1);
            found->key |= str_eq(bare, STR("key")) || str_eq(bare, STR("keys"));
            found->own |= str_eq(bare, STR("client")) || str_eq(bare, STR("clients"));
            count_word(str_of(word, n + 1), found->hits);
        }
        n = 1;
    }
}

struct str demo_text_answer(struct str message)
{
    struct found found = {.key = false};

    if (message.n <= 2 * LOOKED_AT_BYTES) {
        look_at(message, &found);
    } else {
        look_at(str_head(message, LOOKED_AT_BYTES), &found);
        look_at(str_from(message, message.n - LOOKED_AT_BYTES), &found);
    }
    return str_c(text_of(found.hits, found.key, found.own));
}
