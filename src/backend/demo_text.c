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
    "Ask me about: an SDK, coding agents, provider keys, policies, vendors, the config file, a "
    "local server, model names, the demo's models, tools, reasoning, streaming, client keys, "
    "sessions, commands, embeddings and other paths, metrics, logs, performance, errors, or what "
    "works. The model `echo` says your message back, which is handy for tests.\n";

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
    "ANTHROPIC_API_KEY and GEMINI_API_KEY make the backends anthropic and gemini, and so on for "
    "each vendor. Several keys: OPENAI_API_KEY_1 to OPENAI_API_KEY_20; ask me about policies. "
    "Another URL: OPENAI_API_BASE_URL. In config.yaml:\n\n"
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
    "A server of models on this machine: `make run` finds Ollama, LM Studio, vLLM and llama.cpp on "
    "their usual ports when nothing else is configured. In config.yaml their names are ollama, "
    "lmstudio, vllm and llamacpp, and need no key:\n\n"
    "    backends:\n"
    "      ollama: {}\n\n"
    "Any server that speaks a known protocol (openai-chat, openai-responses, anthropic, gemini) is "
    "a backend of three lines:\n\n"
    "    backends:\n"
    "      local:\n"
    "        protocol: openai-chat\n"
    "        api_url: http://127.0.0.1:8080/v1\n\n"
    "The version in the URL may be left out. Its models are then local:NAME.\n";

static const char models[] = SELF
    "A model is named backend:model, for example openai:gpt-4o or demo:echo; backend/model works "
    "too. A name without a configured backend in front is a model of the default backend: the one "
    "of --default-backend, LLM_BACKEND or default_backend in the config, else the first that is "
    "functional. GET /v1/models lists what there is; model_aliases gives models other names.\n\n"
    "I have twelve myself: ask me about the demo's models.\n";

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
    "per backend (docs/METRICS.md). GET /v2/backends shows each backend with its keys by name, "
    "GET /v2/performance where the time goes.\n\n"
    "The log is on standard error, one line for each request, PERF_SUMMARY; --log-level debug "
    "shows more, logging: level, format and per_module in config.yaml choose what and how. The "
    "answer's header Server-Timing has the same times.\n";

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
    "next answer, !/temperature(0.2) its temperature, !/status says what is in force. What stands "
    "beside a command goes to the model, without it. docs/COMMANDS.md has all commands; "
    "disable_interactive_commands turns them off, command_prefix gives them another beginning.\n";

static const char sessions[] = SELF
    "What commands set belongs to a session. It is known by the header x-session-id, by session_id "
    "in the body, by a cookie of that name or the id that an agent sends, else by how its "
    "conversation begins. The answer's x-session-id says which it was. GET /v2/sessions lists "
    "yours.\n\n"
    "    session:\n"
    "      repository: file\n\n"
    "keeps sessions over a restart, in ./data; without it they are in memory. They end when they "
    "were idle for expiry_seconds. Two clients never share one.\n";

static const char policies[] = SELF
    "A backend may have several keys. policy says which one a request takes: sticky (a session "
    "keeps its key; the default), round-robin, failover or least-used.\n\n"
    "    backends:\n"
    "      openai:\n"
    "        policy: round-robin\n"
    "        api_keys:\n"
    "          team: ${OPENAI_API_KEY_1}\n"
    "          spare: ${OPENAI_API_KEY_2}\n\n"
    "A key that gets 429 rests for as long as the vendor says, and the next one is tried at once; "
    "one that gets 401 or 403 is left out while another works. GET /v2/backends shows keys by "
    "their names.\n";

static const char vendors[] = SELF
    "A vendor's name as a backend's name brings its URL, protocol and key header: openai, "
    "anthropic, gemini, openrouter, groq, mistral, deepseek, xai, together, fireworks, cerebras, "
    "perplexity, nvidia, moonshot, zai, qwen, minimax, huggingface, deepinfra, sambanova, github "
    "and azure, and of local servers ollama, lmstudio, vllm and llamacpp. What a vendor does "
    "differently is put right on the way; quirks: off leaves it.\n\n"
    "    export GROQ_API_KEY=...\n\n"
    "makes the backend groq. Two of one vendor: any name, with type: groq. The README has a table "
    "of what was tried with each.\n";

static const char other_paths[] = SELF
    "Paths that are no chat go to the backend as they are, whatever they hold: /v1/embeddings, "
    "/v1/completions, /v1/images/generations, /v1/audio/speech, /v1/moderations, /v1/files, "
    "/v1/batches and all others below /v1. The backend is the one that the model names, else "
    "the default. Uploads and downloads of any size stream through. Embeddings reach Gemini "
    "translated; other paths need a backend of OpenAI's protocols. I have none of them myself: I "
    "only chat.\n";

static const char agents[] = SELF
    "Agents and chat programs need three things: the proxy's URL, a client key, and a model's "
    "name. Where a program asks for an OpenAI-compatible provider the URL is "
    "http://127.0.0.1:8000/v1. Claude Code takes ANTHROPIC_BASE_URL=http://127.0.0.1:8000, Gemini "
    "CLI GOOGLE_GEMINI_BASE_URL with the same. docs/clients/README.md has a page for each: Claude "
    "Code, Codex, Gemini CLI, Aider, Cline, Continue, opencode, Open WebUI, LangChain, LlamaIndex, "
    "curl and the vendors' SDKs.\n";

static const char demo_models[] = SELF
    "My models, to try things without a key:\n\n"
    "- demo:assistant answers about the proxy; demo:echo says your message back\n"
    "- demo:tools calls the tools that you offer, with arguments that their schemas accept; "
    "several when your message says \"both\"\n"
    "- demo:reason thinks first, as much as reasoning_effort says\n"
    "- demo:long and demo:slow have much to say, or take their time\n"
    "- demo:loop and demo:tool-loop say, or call, the same again and again\n"
    "- demo:error-429, demo:error-500, demo:error-cut and demo:error-silent fail: with a rate "
    "limit, with an error, in the midst of the answer, by saying nothing until the time-out\n\n"
    "All take n, stop, max_tokens, response_format and stream_options, and answer in each of the "
    "four protocols.\n";

static const char tools[] = SELF
    "Tools work in all four protocols, streamed and not, in parallel too, whichever protocol the "
    "backend speaks. Try it with demo:tools: it calls what you offer, and says what came of it.\n\n"
    "    curl http://127.0.0.1:8000/v1/chat/completions \\\n"
    "      -H 'Authorization: Bearer CLIENT_KEY' -H 'Content-Type: application/json' \\\n"
    "      -d '{\"model\":\"demo:tools\",\"messages\":[{\"role\":\"user\",\"content\":\"How warm "
    "is Rome?\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"requir"
    "ed\":[\"city\"]}}}]}'\n";

static const char reasoning[] = SELF
    "Reasoning reaches each client in its own protocol's way: reasoning_content in Chat "
    "Completions, thinking blocks in Messages, reasoning items in Responses, thoughts in Gemini. "
    "Signatures and encrypted reasoning find back to the vendor that made them. "
    "!/set(reasoning-effort=high) asks a session's model to think harder, "
    "!/set(thinking-budget=2048) says how much. Try it with demo:reason. think_tags: true turns "
    "an open model's <think> into reasoning.\n";

static const char what_works[] = SELF
    "In this version: OpenAI's Chat Completions (POST /v1/chat/completions) and Responses (POST "
    "/v1/responses), Anthropic's Messages (POST /v1/messages) and Gemini (POST "
    "/v1beta/models/...), streamed or not, with tools, images and reasoning, each to any backend; "
    "the other paths below /v1 as they are; counts of tokens and lists of models in each "
    "protocol's shape; OpenAI, Anthropic, Gemini, twenty-odd vendors of OpenAI's protocol, local "
    "servers, and this demo as backends; several keys for each; client keys; configuration by "
    "file, environment and command line; sessions, and commands in the chat; health, readiness, "
    "metrics and times. Not yet: failover between backends, limits, a cache, a dashboard.\n\n"
    "Options of features that are not built yet are accepted and named in a warning at start; "
    "docs/CONFIGURATION.md lists them.\n";

/* Words are lower-case and lie between blanks, so that each can be looked for as " word ". */
static const struct topic {
    const char *words;
    const char *text;
} topics[] = {
    {" sdk sdks python node javascript typescript curl library langchain llamaindex base_url "
     "baseurl connect integrate point ",
     sdk},
    {" provider provider's openai openai_api_key real secret add ", provider_key},
    {" policy policies rotate rotation round-robin sticky failover least-used several 429 "
     "cooldown ",
     policies},
    {" vendor vendors anthropic gemini openrouter groq mistral deepseek xai azure together "
     "fireworks perplexity nvidia ",
     vendors},
    {" config configure configuration configured yaml option options setting settings file env "
     "dotenv ",
     config_file},
    {" local ollama vllm llama lmstudio server self-hosted custom compatible api_url backend "
     "backends ",
     local_server},
    {" model models default_backend prefix list alias aliases ", models},
    {" demo demo's echo assistant slow long loop offline try ", demo_models},
    {" stream streams streaming streamed sse chunk chunks words events timeout cancel ", streaming},
    {" auth authentication authorization unauthorized bearer 401 token login client_key password "
     "disable-auth ",
     client_key},
    {" metrics prometheus health healthz ready readyz monitor monitoring log logs logging "
     "performance latency timing server-timing perf_summary ",
     health},
    {" error errors fail fails failed failing wrong broken problem troubleshoot 502 503 504 400 ",
     errors},
    {" command commands steer interactive oneoff one-off temperature project ", commands},
    {" session sessions x-session-id remember continuity history restart ", sessions},
    {" path paths opaque embedding embeddings image images audio upload files batches moderations "
     "completions ",
     other_paths},
    {" agent agents claude code codex cli aider cline continue opencode webui program programs "
     "editor ",
     agents},
    {" tool tools function functions call calls calling arguments ", tools},
    {" reason reasoning think thinking thoughts effort budget ", reasoning},
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
