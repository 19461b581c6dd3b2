/* SPDX-License-Identifier: MIT */
/*
 * YAML into a tree.
 *
 * What      Turns libyaml's events into nodes that know where they stand.
 * How       A stack of open lists and maps, DEPTH_MAX of them; each event adds a node to the top
 *           one, or opens or closes one. A map's scalars are key and value in turn.
 * Owns      The parser, for the time of the call. Nodes and texts are copies in the arena.
 * Not here  What the values mean; which keys are known, or stand twice.
 */
#include "text/yaml.h"

#include <yaml.h>

#include "text/utf8.h"

enum { DEPTH_MAX = 32 };

#define CORE_TAG "tag:yaml.org,2002:"

struct level {
    struct yaml_node *node;
    struct yaml_node *last; /* child */
    struct yaml_node *key;  /* of the value that comes next; NULL: a key comes next */
};

struct reader {
    struct arena *arena;
    struct error *e;
    yaml_mark_t end; /* the place behind the text */
    int line;        /* of a fault */
    int column;
    struct yaml_node *root;
    size_t depth;
    struct level levels[DEPTH_MAX];
};

/* Length of the line break that s begins with, 0 for none (YAML 1.1, section 4.1.4). */
static size_t break_size(struct str s)
{
    if (str_starts(s, STR("\r\n")) || str_starts(s, STR("\xC2\x85")))
        return 2;
    if (str_starts(s, STR("\xE2\x80\xA8")) || str_starts(s, STR("\xE2\x80\xA9")))
        return 3;
    return s.n > 0 && (s.p[0] == '\n' || s.p[0] == '\r') ? 1 : 0;
}

/* The place behind the text, which is UTF-8; columns count characters. */
static yaml_mark_t mark_behind(struct str text)
{
    yaml_mark_t mark = {.line = 0};

    while (text.n > 0) {
        size_t size = break_size(text);
        if (size > 0) {
            mark.line++;
            mark.column = 0;
        } else {
            mark.column += ((unsigned char)text.p[0] & 0xC0) != 0x80;
            size = 1;
        }
        text = str_from(text, size);
    }
    return mark;
}

/* From 1. libyaml ends a last line that has no end, and has some places in the line after it. */
static void place_of(const struct reader *r, const yaml_mark_t *mark, int *ret_line,
                     int *ret_column)
{
    if (mark->line > r->end.line)
        mark = &r->end;
    *ret_line = (int)mark->line + 1;
    *ret_column = (int)mark->column + 1;
}

static COLD bool fault(struct reader *r, const yaml_mark_t *mark, const char *problem)
{
    place_of(r, mark, &r->line, &r->column);
    (void)FAIL(r->e, ERR_CONFIG, "%s", problem);
    return false;
}

static struct yaml_node *new_node(struct reader *r, const yaml_mark_t *mark, enum yaml_kind kind)
{
    struct yaml_node *node = ARENA_NEW(r->arena, struct yaml_node);

    node->kind = kind;
    place_of(r, mark, &node->line, &node->column);
    return node;
}

static bool is_core_tag(const yaml_char_t *tag)
{
    static const char *const names[] = {"str", "int", "float", "bool", "null", "map", "seq"};
    struct str name = str_c((const char *)tag);

    /* "!" alone asks for the plain kind: text, list or map. */
    if (str_eq(name, STR("!")))
        return true;
    if (!str_starts(name, STR(CORE_TAG)))
        return false;
    name = str_from(name, sizeof(CORE_TAG) - 1);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (str_eq(name, str_c(names[i])))
            return true;
    }
    return false;
}

static bool is_text_tag(const yaml_char_t *tag)
{
    struct str name = str_c((const char *)tag);
    return str_eq(name, STR("!")) || str_eq(name, STR(CORE_TAG "str"));
}

/* What no node may have. */
static bool check_properties(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor,
                             const yaml_char_t *tag)
{
    if (anchor != NULL)
        return fault(r, &event->start_mark, "anchors are not supported");
    if (tag != NULL && !is_core_tag(tag))
        return fault(r, &event->start_mark, "tags are not supported");
    return true;
}

/* Puts the node where it belongs: the root, a list's element, a map's key or value. */
static bool place(struct reader *r, const yaml_event_t *event, struct yaml_node *node)
{
    if (r->depth == 0) {
        assert(r->root == NULL);
        r->root = node;
        return true;
    }
    struct level *level = &r->levels[r->depth - 1];
    if (level->node->kind == YAML_MAP && level->key == NULL) {
        if (node->kind != YAML_SCALAR)
            return fault(r, &event->start_mark, "a key must be a plain text");
        level->key = node;
        return true;
    }
    node->key = level->key;
    level->key = NULL;
    if (level->last == NULL)
        level->node->first = node;
    else
        level->last->next = node;
    level->last = node;
    return true;
}

static bool open_level(struct reader *r, const yaml_event_t *event, enum yaml_kind kind)
{
    struct yaml_node *node = new_node(r, &event->start_mark, kind);

    if (!place(r, event, node))
        return false;
    if (r->depth == DEPTH_MAX)
        return fault(r, &event->start_mark, "nested too deeply");
    r->levels[r->depth++] = (struct level){.node = node};
    return true;
}

static bool add_scalar(struct reader *r, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    const yaml_char_t *tag = event->data.scalar.tag;

    if (!check_properties(r, event, event->data.scalar.anchor, tag))
        return false;
    struct yaml_node *node = new_node(r, &event->start_mark, YAML_SCALAR);
    node->scalar = str_copy(r->arena, str_of(text, event->data.scalar.length));
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE ||
                   (tag != NULL && is_text_tag(tag));
    return place(r, event, node);
}

/* False at a fault. */
static bool take_event(struct reader *r, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (r->root != NULL)
            return fault(r, &event->start_mark, "more than one document");
        return true;
    case YAML_ALIAS_EVENT:
        return fault(r, &event->start_mark, "aliases are not supported");
    case YAML_SCALAR_EVENT:
        return add_scalar(r, event);
    case YAML_SEQUENCE_START_EVENT:
        return check_properties(r, event, event->data.sequence_start.anchor,
                                event->data.sequence_start.tag) &&
               open_level(r, event, YAML_LIST);
    case YAML_MAPPING_START_EVENT:
        return check_properties(r, event, event->data.mapping_start.anchor,
                                event->data.mapping_start.tag) &&
               open_level(r, event, YAML_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        assert(r->depth > 0);
        assert(r->levels[r->depth - 1].key == NULL);
        r->depth--;
        return true;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return true;
    }
    BUG("an event of no kind");
}

/* libyaml's own words, and where. */
static COLD void parser_fault(struct reader *r, const yaml_parser_t *parser)
{
    const char *problem = parser->problem == NULL ? "not valid YAML" : parser->problem;
    /* Faults of the reader (encoding) have no mark, only an offset; the parser's own place is
     * near. */
    const yaml_mark_t *mark = parser->error == YAML_READER_ERROR || parser->problem_mark.index == 0
                                  ? &parser->mark
                                  : &parser->problem_mark;

    (void)fault(r, mark, problem);
    if (parser->context != NULL)
        (void)FAIL(r->e, ERR_CONFIG, "%s %s", problem, parser->context);
}

static bool read_events(struct reader *r, yaml_parser_t *parser)
{
    yaml_event_type_t type;

    do {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            parser_fault(r, parser);
            return false;
        }
        type = event.type;
        bool ok = take_event(r, &event);
        if (ok && arena_overflowed(r->arena))
            ok = fault(r, &event.start_mark, "too large");
        yaml_event_delete(&event);
        if (!ok)
            return false;
    } while (type != YAML_STREAM_END_EVENT);
    assert(r->depth == 0);
    return true;
}

/* A document of nothing but comments is an empty map. */
static struct yaml_node *root_of(struct reader *r)
{
    const yaml_mark_t start = {.line = 0};

    if (r->root == NULL ||
        (r->root->kind == YAML_SCALAR && yaml_is_null(r->root) && r->root->scalar.n == 0))
        return new_node(r, &start, YAML_MAP);
    return r->root;
}

/* Also where it is not; libyaml would say so without a line. */
static bool check_utf8(struct reader *r, struct str text)
{
    size_t good = utf8_valid_prefix(text);

    r->end = mark_behind(str_head(text, good));
    return good == text.n || fault(r, &r->end, "invalid UTF-8");
}

struct yaml_node *yaml_read(struct str text, struct arena *arena, int *ret_line, int *ret_column,
                            struct error *e)
{
    struct reader r = {.arena = arena, .e = e};
    yaml_parser_t parser;
    bool ok = check_utf8(&r, text);

    if (ok) {
        if (!yaml_parser_initialize(&parser))
            BUG("no memory for the YAML parser");
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
        /* A BOM would count as a column. */
        size_t bom = str_starts(text, STR("\xEF\xBB\xBF")) ? 3 : 0;
        const char *p = text.p == NULL ? "" : text.p + bom;
        yaml_parser_set_input_string(&parser, (const unsigned char *)p, text.n - bom);
        ok = read_events(&r, &parser);
        yaml_parser_delete(&parser);
    }
    if (!ok) {
        assert(r.line >= 1 && r.column >= 1);
        *ret_line = r.line;
        *ret_column = r.column;
        return NULL;
    }
    return root_of(&r);
}

struct yaml_node *yaml_get(const struct yaml_node *map, struct str key)
{
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (struct yaml_node *node = map->first; node != NULL; node = node->next) {
        assert(node->key != NULL);
        if (str_eq(node->key->scalar, key))
            return node;
    }
    return NULL;
}

static bool is_one_of(struct str text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(text, str_c(words[i])))
            return true;
    }
    return false;
}

bool yaml_is_null(const struct yaml_node *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};

    return node->kind == YAML_SCALAR && !node->quoted &&
           is_one_of(node->scalar, words, COUNT_OF(words));
}

bool yaml_to_bool(const struct yaml_node *node, bool *ret_value)
{
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes",
                                      "YES",  "on",   "On",   "ON"};
    static const char *const no[] = {"false", "False", "FALSE", "no", "No",
                                     "NO",    "off",   "Off",   "OFF"};

    if (node->kind != YAML_SCALAR || node->quoted)
        return false;
    bool is_yes = is_one_of(node->scalar, yes, COUNT_OF(yes));
    if (!is_yes && !is_one_of(node->scalar, no, COUNT_OF(no)))
        return false;
    *ret_value = is_yes;
    return true;
}
