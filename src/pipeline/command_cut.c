/* SPDX-License-Identifier: MIT */
/*
 * Commands in a conversation.
 *
 * What      Finds the commands of the newest message, and takes those of the older ones out of the
 *           request, with our answers to them.
 * How       One walk over the outline collects the turns. Then they are gone through in order: a
 *           user's message of nothing but commands goes, with the assistant's message behind it,
 *           which was ours; was that a call of attempt_completion, its result goes, too, or becomes
 *           a text of the user's where it holds what the user said to it (<feedback>…). What the
 *           client told the model beside them stays, as it may say it only once. From other
 *           messages the commands are cut. Messages that cannot hold one are not unescaped.
 *           The rules (prefix, interactive mode) start as the configured ones and change where a
 *           command changed them; where none did, the session's hold for all.
 * Owns      Nothing: all of it lies in the request's source and arena.
 * Not here  What a command is (command/spot), running them (stage_command).
 */
#include "pipeline/command_cut.h"

#include "pipeline/command_reply.h"

enum { TURNS_FIRST = 64, RESULTS_MAX = 16 };

/* Parts of a turn that go without being looked at. */
struct gone {
    struct str parts[RESULTS_MAX];
    size_t n;
    size_t texts; /* so many of them are */
};

/* What happened to a turn. */
struct cut_turn {
    struct outline_turn turn;
    struct gone *gone; /* NULL: nothing */
    bool removed;
    bool told; /* of it stays what its client told the model */
};

/* What a client says came of an answer of ours, which goes where it comes: results of its calls,
 * and "[attempt_completion] Result:" where the client reads its calls from the text. */
struct results {
    struct str ids[RESULTS_MAX];
    size_t n;
    bool open; /* an answer was removed */
};

struct walk {
    struct cut *cut;
    struct cut_turn *turns;
    size_t n;
    size_t newest; /* the last turn that is not the system's; n: there is none */
    struct cut_rules rules;
    struct results results;
    bool changed; /* a command changed the rules */
};

/* Clients tell the model things behind the user's message, too (Claude Code does). */
static bool is_told(const struct cut_turn *turn)
{
    return turn->turn.role == ROLE_SYSTEM || turn->turn.role == ROLE_DEVELOPER;
}

static void collect(struct walk *walk)
{
    struct cut *cut = walk->cut;
    struct outline_cursor cursor = {.step = 0};
    struct outline_turn turn;
    size_t size = 0;

    while (cut->protocol->outline_next(cut->request, &cursor, &turn)) {
        if (walk->n == size) {
            size_t more = size == 0 ? TURNS_FIRST : size * 2;
            struct cut_turn *turns = arena_grow(cut->arena, walk->turns, size * sizeof(*turns),
                                                more * sizeof(*turns));
            if (arena_overflowed(cut->arena))
                return;
            walk->turns = turns;
            size = more;
        }
        walk->turns[walk->n++] = (struct cut_turn){.turn = turn};
    }
}

/* --- edits ------------------------------------------------------------------------------- */

static void remove_element(struct cut *cut, struct str element)
{
    struct request *request = cut->request;

    json_edit_element(&request->edits, cut->arena, request->source, element);
}

static bool remove_turn(struct cut *cut, struct cut_turn *turn)
{
    if (str_is_null(turn->turn.source))
        return false;
    remove_element(cut, turn->turn.source);
    turn->removed = true;
    return true;
}

/* Cuts that touch are one. */
static void cut_text(struct cut *cut, const struct cut_text *text)
{
    const struct spot *spot = &text->spot;
    struct json_string_cursor cursor;

    json_string_begin(&cursor, text->at.string);
    for (size_t i = 0; i < spot->n;) {
        size_t begin = spot->items[i].cut_begin;
        size_t end = spot->items[i++].cut_end;
        while (i < spot->n && spot->items[i].cut_begin <= end)
            end = spot->items[i++].cut_end;
        json_edit_cut(&cut->request->edits, cut->arena, cut->request->source, &cursor, begin, end);
    }
}

/* Blanks, and marks that stood behind its commands. */
static bool is_nothing(const struct cut_text *text, struct arena *arena)
{
    struct str left = str_trim(spot_rest(text->text, &text->spot, arena));

    if (text->spot.rest)
        return left.n == 0;
    while (left.n > 0 && strchr(".,;:!? \t\r\n", left.p[0]) != NULL && left.p[0] != '\0')
        left = str_from(left, 1);
    return left.n == 0;
}

/* The texts without their commands; parts that hold nothing any more go, as long as one stays. */
static void cut_message(struct cut *cut, const struct cut_message *message)
{
    size_t parts = message->parts;

    for (size_t i = 0; i < message->n; i++) {
        const struct cut_text *text = &message->texts[i];
        if (text->spot.n == 0)
            continue;
        if (parts > 1 && !str_is_null(text->at.part) && is_nothing(text, cut->arena)) {
            remove_element(cut, text->at.part);
            parts--;
        } else {
            cut_text(cut, text);
        }
    }
}

/* --- messages ---------------------------------------------------------------------------- */

static bool may_hold(struct str content, struct str prefix, size_t *ret_texts)
{
    struct outline_text text;
    size_t cursor = 0;
    bool possible = false;

    *ret_texts = 0;
    while (outline_text_next(content, &cursor, &text)) {
        (*ret_texts)++;
        possible = possible || spot_is_possible(text.string, prefix);
    }
    return possible;
}

/* False: there are no commands in it. */
static bool read_message(struct walk *walk, const struct cut_turn *turn,
                         const struct cut_rules *rules, struct cut_message *ret_message)
{
    struct arena *arena = walk->cut->arena;
    struct spot_options options = {
        .prefix = rules->prefix,
        .interactive = rules->interactive,
        .as = SPOT_TEXT,
    };
    size_t cursor = 0;
    size_t n = 0;

    *ret_message = (struct cut_message){.turn = turn->turn};
    if (!may_hold(turn->turn.content, rules->prefix, &n))
        return false;
    ret_message->texts = arena_array(arena, n, sizeof(*ret_message->texts));
    if (arena_overflowed(arena))
        return false;
    while (ret_message->n < n) {
        struct cut_text *text = &ret_message->texts[ret_message->n++];
        bool more = outline_text_next(turn->turn.content, &cursor, &text->at);
        assert(more);
        text->text = json_string_value(text->at.string, arena);
        spot_text(text->text, &options, arena, &text->spot);
        options.as = text->spot.next;
        ret_message->found += text->spot.n;
        ret_message->rest = ret_message->rest || text->spot.rest;
        ret_message->told = ret_message->told || text->spot.told;
    }
    size_t others = outline_others(turn->turn.content);
    size_t gone_texts = turn->gone == NULL ? 0 : turn->gone->texts;
    size_t gone_others = turn->gone == NULL ? 0 : turn->gone->n - gone_texts;
    assert(others >= gone_others && n >= gone_texts);
    ret_message->others = others - gone_others;
    ret_message->parts = n + others - gone_texts - gone_others;
    ret_message->rest = ret_message->rest || ret_message->others > 0;
    return ret_message->found > 0;
}

/* --- our own answers --------------------------------------------------------------------- */

static bool is_answer(const struct cut_turn *turn)
{
    return turn->turn.role == ROLE_ASSISTANT || turn->turn.is_call;
}

/* Notes the calls of the turn. False: it calls another tool, or is something that we never say
 * (reasoning): it is not ours. */
static bool note_calls(struct walk *walk, const struct cut_turn *turn)
{
    struct results *results = &walk->results;
    struct outline_call call;
    size_t cursor = 0;

    while (walk->cut->protocol->outline_call(&turn->turn, &cursor, walk->cut->arena, &call)) {
        if (call.is_result)
            continue;
        if (!str_eq(call.name, STR(COMMAND_REPLY_TOOL)) || results->n == RESULTS_MAX)
            return false;
        results->ids[results->n++] = call.id;
    }
    return results->n > 0 || !turn->turn.is_call;
}

/* The assistant's message behind turns[at], of which nothing is left. In Responses its text and its
 * call are items of their own. */
static void remove_answer(struct walk *walk, size_t at)
{
    bool second = false;

    for (size_t i = at + 1; i < walk->n; i++) {
        struct cut_turn *turn = &walk->turns[i];
        struct results before = walk->results;
        if (is_told(turn))
            continue;
        if (!is_answer(turn) || (second && !turn->turn.is_call))
            return;
        if (!note_calls(walk, turn)) {
            walk->results = before;
            return;
        }
        if (!remove_turn(walk->cut, turn))
            return;
        walk->results.open = true;
        if (walk->results.n > 0 || second)
            return;
        second = true;
    }
}

static bool is_own_result(const struct results *results, const struct outline_call *call)
{
    if (!call->is_result || results->n == 0)
        return false;
    if (call->id.n == 0 && str_eq(call->name, STR(COMMAND_REPLY_TOOL)))
        return true;
    /* Some that speak Gemini's have it in the name's place. */
    struct str id = call->id.n == 0 ? call->name : call->id;
    for (size_t i = 0; id.n > 0 && i < results->n; i++) {
        if (str_eq(results->ids[i], id))
            return true;
    }
    return false;
}

/* The text that says so and nothing else. */
static bool is_result_text(struct str string)
{
    const struct str text = STR("[" COMMAND_REPLY_TOOL "] Result:");
    struct str body = str_of(string.p + 1, string.n - 2);

    for (size_t i = 0; i < 2; i++) { /* with a line break behind it */
        if (str_ends(body, STR("\\n")))
            body.n -= 2;
    }
    return str_eq(str_trim(body), text);
}

static size_t count_parts(struct str content)
{
    struct outline_text text;
    size_t cursor = 0;
    size_t n = outline_others(content);

    while (outline_text_next(content, &cursor, &text))
        n++;
    return n;
}

static bool holds_words(struct str texts, struct arena *arena)
{
    struct outline_text text;
    size_t cursor = 0;

    while (outline_text_next(texts, &cursor, &text)) {
        if (spot_holds_words(json_string_value(text.string, arena)))
            return true;
    }
    return false;
}

/* The user's words in a result of ours stay, as the user's. False: there are none. */
static bool say_words(struct walk *walk, const struct outline_turn *turn, struct outline_call *call)
{
    struct cut *cut = walk->cut;
    struct request *request = cut->request;

    if (str_is_null(call->texts) || !holds_words(call->texts, cut->arena))
        return false;
    if (turn->role == ROLE_TOOL && !str_is_null(call->part)) { /* becomes the user's */
        if (count_parts(turn->content) > 1)
            return false;
        call->part = STR_NULL;
    }
    struct str place = str_is_null(call->part) ? turn->source : call->part;
    if (str_is_null(place))
        return false;
    size_t begin = (size_t)(place.p - request->source.p);
    json_edit_span(&request->edits, cut->arena, begin, begin + place.n,
                   cut->protocol->outline_words(call, cut->arena));
    return true;
}

/* False: the turn is a result itself. */
static bool find_results(struct walk *walk, const struct cut_turn *turn, struct gone *gone)
{
    struct outline_call call;
    struct outline_text text;
    size_t cursor = 0;

    while (walk->cut->protocol->outline_call(&turn->turn, &cursor, walk->cut->arena, &call)) {
        if (!is_own_result(&walk->results, &call))
            continue;
        if (say_words(walk, &turn->turn, &call))
            continue;
        if (str_is_null(call.part))
            return false;
        if (gone->n < RESULTS_MAX)
            gone->parts[gone->n++] = call.part;
    }
    cursor = 0;
    while (outline_text_next(turn->turn.content, &cursor, &text)) {
        if (str_is_null(text.part) || gone->n == RESULTS_MAX || !is_result_text(text.string))
            continue;
        gone->parts[gone->n++] = text.part;
        gone->texts++;
    }
    return true;
}

/* The results in the turn; where it is nothing else, it goes. */
static void look_for_results(struct walk *walk, struct cut_turn *turn)
{
    struct gone gone = {.n = 0};

    if (!find_results(walk, turn, &gone) ||
        (gone.n > 0 && gone.n == count_parts(turn->turn.content))) {
        (void)remove_turn(walk->cut, turn);
    } else if (gone.n > 0) {
        struct gone *kept = ARENA_NEW(walk->cut->arena, struct gone);
        if (arena_overflowed(walk->cut->arena))
            return;
        *kept = gone;
        turn->gone = kept;
    }
}

static void remove_results(struct walk *walk, const struct cut_turn *turn)
{
    for (size_t i = 0; turn->gone != NULL && i < turn->gone->n; i++)
        remove_element(walk->cut, turn->gone->parts[i]);
}

/* --- the walk ---------------------------------------------------------------------------- */

static void older(struct walk *walk, size_t at)
{
    struct cut_message message;
    struct cut_turn *turn = &walk->turns[at];

    if (!read_message(walk, turn, &walk->rules, &message)) {
        remove_results(walk, turn);
        return;
    }
    if (walk->cut->replay(walk->cut->ctx, &message, &walk->rules))
        walk->changed = true;
    walk->results = (struct results){.n = 0};
    turn->told = !message.rest && message.told;
    if (!message.rest && !message.told && remove_turn(walk->cut, turn)) {
        remove_answer(walk, at);
    } else {
        remove_results(walk, turn);
        cut_message(walk->cut, &message);
        if (turn->told)
            remove_answer(walk, at);
    }
}

static bool is_users(const struct cut_turn *turn)
{
    return turn->turn.role == ROLE_USER && !turn->turn.is_call;
}

/* All turns but what the newest message asks. */
static void go_through(struct walk *walk, const struct cut_rules *rules)
{
    walk->rules = *rules;
    walk->results = (struct results){.n = 0};
    walk->changed = false;
    for (size_t i = 0; i < walk->n; i++) {
        struct cut_turn *turn = &walk->turns[i];
        if (turn->removed)
            continue;
        if (walk->results.open && (is_users(turn) || turn->turn.role == ROLE_TOOL))
            look_for_results(walk, turn);
        if (turn->removed)
            continue;
        if (is_users(turn) || is_answer(turn))
            walk->results.open = false;
        if (is_users(turn) && i != walk->newest)
            older(walk, i);
        else
            remove_results(walk, turn);
    }
}

static bool same_rules(const struct cut_rules *a, const struct cut_rules *b)
{
    return a->interactive == b->interactive && str_eq(a->prefix, b->prefix);
}

static void undo(struct walk *walk, size_t edits)
{
    walk->cut->request->edits.n = edits;
    for (size_t i = 0; i < walk->n; i++) {
        walk->turns[i].removed = false;
        walk->turns[i].gone = NULL;
        walk->turns[i].told = false;
    }
}

/* Something was there, and all of it went. */
static bool is_nothing_left(const struct walk *walk)
{
    bool any = false;

    for (size_t i = 0; i < walk->n; i++) {
        bool gone = walk->turns[i].removed || walk->turns[i].told;
        any = any || gone;
        if (!gone && !is_told(&walk->turns[i]))
            return false;
    }
    return any;
}

void command_cut_find(struct cut *cut)
{
    struct walk walk = {.cut = cut};
    size_t edits = cut->request->edits.n;

    cut->newest = (struct cut_message){.found = 0};
    collect(&walk);
    walk.newest = walk.n;
    for (size_t i = walk.n; i-- > 0 && walk.newest == walk.n;) {
        if (!is_told(&walk.turns[i]))
            walk.newest = i;
    }
    go_through(&walk, &cut->configured);
    if (!walk.changed && !same_rules(&cut->configured, &cut->session)) {
        undo(&walk, edits);
        go_through(&walk, &cut->session);
    }
    struct cut_turn *last = walk.newest == walk.n ? NULL : &walk.turns[walk.newest];
    if (last != NULL && is_users(last) && !last->removed)
        (void)read_message(&walk, last, &cut->session, &cut->newest);
    size_t older = cut->request->edits.n;
    if (cut->newest.found > 0 && cut->newest.rest)
        cut_message(cut, &cut->newest);
    cut->edits = cut->request->edits.n;
    cut->request->edits.n = older;
    cut->nothing = is_nothing_left(&walk) && !arena_overflowed(cut->arena);
}

void command_cut_newest(struct cut *cut)
{
    assert(cut->newest.found > 0 && cut->newest.rest);
    assert(cut->edits >= cut->request->edits.n);
    cut->request->edits.n = cut->edits;
}
