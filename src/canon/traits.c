/* SPDX-License-Identifier: MIT */
#include "canon/traits.h"

enum { LOW_TO_HIGH = EFFORT_LOW | EFFORT_MEDIUM | EFFORT_HIGH, BUDGET_LEAST = 1024 };

struct row {
    const char *pattern;
    uint64_t chars; /* of the pattern, as chars_of has those of a name */
    struct traits traits;
};

/* A bit for each character, so that most patterns need not be looked for. */
static inline uint64_t char_bit(char c)
{
    return UINT64_C(1) << ((unsigned char)c & 63);
}

/* The same of a literal, by the compiler; '^' is none of the name's. */
#define CHAR(text, i) ((i) < sizeof(text) - 1 ? (text)[(i) < sizeof(text) ? (i) : 0] : '^')
#define BIT(text, i)  (CHAR(text, i) == '^' ? 0 : UINT64_C(1) << (CHAR(text, i) & 63))
#define BITS_4(text, i) \
    (BIT(text, i) | BIT(text, (i) + 1) | BIT(text, (i) + 2) | BIT(text, (i) + 3))
#define BITS_16(text, i) \
    (BITS_4(text, i) | BITS_4(text, (i) + 4) | BITS_4(text, (i) + 8) | BITS_4(text, (i) + 12))
#define ROW(text, ...) {(text), BITS_16(text, 0) | BITS_16(text, 16), {__VA_ARGS__}},
#define NO_ROW(...)

/* The rows of a family, by its name in traits.def. */
#define TRAITS(family, ...) ROW_##family(__VA_ARGS__)
static const struct row rows_anthropic[] = {
#define ROW_ANTHROPIC ROW
#define ROW_GEMINI    NO_ROW
#define ROW_OPENAI    NO_ROW
#include "canon/traits.def"
#undef ROW_ANTHROPIC
#undef ROW_GEMINI
};
static const struct row rows_gemini[] = {
#define ROW_ANTHROPIC NO_ROW
#define ROW_GEMINI    ROW
#include "canon/traits.def"
#undef ROW_GEMINI
#undef ROW_OPENAI
};
static const struct row rows_openai[] = {
#define ROW_GEMINI NO_ROW
#define ROW_OPENAI ROW
#include "canon/traits.def"
#undef ROW_ANTHROPIC
#undef ROW_GEMINI
#undef ROW_OPENAI
};
#undef TRAITS

static const struct {
    const struct row *rows;
    size_t n;
} families[] = {
    [TRAITS_OPENAI] = {rows_openai, COUNT_OF(rows_openai)},
    [TRAITS_ANTHROPIC] = {rows_anthropic, COUNT_OF(rows_anthropic)},
    [TRAITS_GEMINI] = {rows_gemini, COUNT_OF(rows_gemini)},
};

/* The words that whatever takes one takes. */
static const struct traits told = {OPENAI_PLAIN, .thinking = THINKING_EFFORT,
                                   .efforts = LOW_TO_HIGH, .unknown = true};

/* --- names -------------------------------------------------------------------------------- */

/* "openrouter/anthropic/claude-x", "models/gemini-x", "ft:gpt-x:…" */
static struct str strip(struct str model)
{
    for (size_t i = model.n; i > 0; i--) {
        if (model.p[i - 1] == '/') {
            model = str_from(model, i);
            break;
        }
    }
    return str_starts(model, STR("ft:")) ? str_from(model, 3) : model;
}

/* As it stands in patterns. */
static inline char folded(char c, bool dots)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return dots && c == '.' ? '-' : c;
}

static uint64_t chars_of(struct str name, bool dots)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < name.n; i++)
        bits |= char_bit(folded(name.p[i], dots));
    return bits;
}

static bool begins(struct str name, const char *pattern, bool dots)
{
    size_t i = 0;

    while (pattern[i] != '\0' && i < name.n && folded(name.p[i], dots) == pattern[i])
        i++;
    return pattern[i] == '\0';
}

static bool matches(struct str name, const char *pattern, bool dots)
{
    if (pattern[0] == '^')
        return begins(name, pattern + 1, dots);
    if (pattern[0] == '\0')
        return true;
    for (size_t i = 0; i < name.n; i++) {
        if (begins(str_from(name, i), pattern, dots))
            return true;
    }
    return false;
}

const struct traits *traits_of(enum traits_family family, struct str model)
{
    const struct row *row = families[family].rows;
    const struct row *last = row + families[family].n - 1;
    bool dots = family == TRAITS_ANTHROPIC;
    struct str name = strip(model);
    uint64_t chars = chars_of(name, dots);

    /* It is every name's. */
    assert(last->pattern[0] == '\0' && last->chars == 0);
    while ((row->chars & ~chars) != 0 || !matches(name, row->pattern, dots))
        row++;
    return &row->traits;
}

const struct traits *traits_told(const struct traits *traits)
{
    return traits->unknown ? &told : traits;
}

/* --- efforts and budgets ------------------------------------------------------------------ */

/* By bit: EFFORT_NONE is the first. budget: what it stands for; 0: none; -1: the most. */
static const struct {
    const char *word;
    int64_t budget;
} efforts_by_bit[] = {
    {"none", 0},     {"minimal", 1024}, {"low", 2048}, {"medium", 8192},
    {"high", 16384}, {"xhigh", 32768},  {"max", -1},
};

enum { BIT_NONE, BIT_MINIMAL, BIT_LOW, BIT_MEDIUM, BIT_HIGH, BIT_XHIGH, BIT_MAX, BITS };

/* BITS: no word that we know. */
static size_t bit_of_word(struct str word)
{
    size_t bit = 0;

    if (str_eq(word, STR("maximum")))
        return BIT_MAX;
    while (bit < BITS && !str_eq(word, str_c(efforts_by_bit[bit].word)))
        bit++;
    return bit;
}

static size_t bit_of_budget(int64_t tokens)
{
    if (tokens < 512)
        return BIT_MINIMAL;
    if (tokens < 2048)
        return BIT_LOW;
    if (tokens < 8192)
        return BIT_MEDIUM;
    return tokens < 16384 ? BIT_HIGH : BIT_XHIGH;
}

/* A number token; past any bound it is the most. */
static int64_t tokens_of(struct str number)
{
    double value;

    if (!str_to_double(number, &value) || value < 0)
        return 0;
    return value > 1e9 ? 1000000000 : (int64_t)value;
}

/* BITS: nothing is to be said. */
static size_t wanted_bit(const struct params *params)
{
    switch (params->reasoning) {
    case REASONING_OFF:
        return BIT_NONE;
    case REASONING_EFFORT:
        return bit_of_word(params->reasoning_effort);
    case REASONING_BUDGET:
        return bit_of_budget(tokens_of(params->reasoning_budget));
    case REASONING_ABSENT:
    case REASONING_DYNAMIC:
        return BITS;
    case REASONING_MODE_COUNT:
        break;
    }
    BUG("no such mode of reasoning");
}

/* The nearest one that is known: a lower one first, but reasoning asked for is not switched off. */
static size_t clamp_bit(size_t bit, unsigned efforts)
{
    if ((efforts & 1u << bit) != 0)
        return bit;
    for (size_t lower = bit; bit > BIT_NONE && lower-- > BIT_MINIMAL;) {
        if ((efforts & 1u << lower) != 0)
            return lower;
    }
    for (size_t higher = bit + 1; higher < BITS; higher++) {
        if ((efforts & 1u << higher) != 0)
            return higher;
    }
    return BITS;
}

const char *traits_effort(const struct params *params, unsigned efforts)
{
    size_t bit = wanted_bit(params);

    if (bit == BITS || efforts == 0)
        return NULL;
    bit = clamp_bit(bit, efforts);
    return bit == BITS ? NULL : efforts_by_bit[bit].word;
}

/* Tokens that the client asks for; -1: the model's own choice. */
static int64_t wanted_budget(const struct params *params, const struct traits *traits)
{
    size_t bit;

    if (params->reasoning == REASONING_DYNAMIC)
        return traits->dynamic ? -1 : efforts_by_bit[BIT_MEDIUM].budget;
    if (params->reasoning == REASONING_BUDGET)
        return tokens_of(params->reasoning_budget);
    bit = wanted_bit(params);
    assert(bit < BITS);
    return efforts_by_bit[bit].budget < 0 ? traits->budget_max : efforts_by_bit[bit].budget;
}

/* What thinking takes is of the same maximum as the answer. */
static int64_t below(int64_t budget, int64_t max_tokens)
{
    if (max_tokens == 0 || budget <= 0)
        return budget;
    if (max_tokens <= BUDGET_LEAST)
        return 0;
    if (budget < max_tokens)
        return budget;
    return max_tokens / 2 > BUDGET_LEAST ? max_tokens / 2 : BUDGET_LEAST;
}

bool traits_budget(const struct params *params, const struct traits *traits, int64_t max_tokens,
                   int64_t *ret_budget)
{
    int64_t least = traits->off_refused ? traits->budget_min : 0;
    int64_t budget;

    if (params->reasoning == REASONING_ABSENT || traits->thinking != THINKING_BUDGET)
        return false;
    if (params->reasoning == REASONING_EFFORT && wanted_bit(params) == BITS)
        return false;
    budget = wanted_budget(params, traits);
    if (budget > 0 && budget < traits->budget_min)
        budget = traits->budget_min;
    if (budget > traits->budget_max)
        budget = traits->budget_max;
    budget = below(budget, max_tokens);
    *ret_budget = budget == 0 ? least : budget;
    return true;
}
