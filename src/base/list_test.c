/* SPDX-License-Identifier: MIT */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct item {
    char before; /* so that the node is not where the item begins */
    struct list node;
    int value;
};

enum { ITEMS = 5 };

static void init_items(struct item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        items[i] = (struct item){.value = (int)i};
        list_init(&items[i].node);
    }
}

/* The values in order, forwards and backwards. */
static void check(const struct list *head, const int *want, size_t n)
{
    size_t i = 0;

    for (struct list *node = head->next; node != head; node = node->next) {
        assert_true(i < n);
        assert_int_equal(LIST_ENTRY(node, struct item, node)->value, want[i++]);
    }
    assert_int_equal(i, n);
    for (struct list *node = head->prev; node != head; node = node->prev)
        assert_int_equal(LIST_ENTRY(node, struct item, node)->value, want[--i]);
    assert_int_equal(i, 0);
    assert_int_equal(list_empty(head), n == 0);
}

static void test_order(void **state)
{
    struct list head;
    struct item items[ITEMS];

    (void)state;
    list_init(&head);
    init_items(items, ITEMS);
    check(&head, NULL, 0);
    list_push_back(&head, &items[1].node);
    list_push_back(&head, &items[2].node);
    list_push_front(&head, &items[0].node);
    list_insert_after(&items[1].node, &items[4].node);
    check(&head, (const int[]){0, 1, 4, 2}, 4);
    assert_true(list_linked(&items[4].node));
    assert_false(list_linked(&items[3].node));
    list_remove(&items[0].node);
    list_remove(&items[2].node);
    check(&head, (const int[]){1, 4}, 2);
    /* In no list: nothing happens; it can be linked again. */
    list_remove(&items[0].node);
    list_remove(&items[3].node);
    check(&head, (const int[]){1, 4}, 2);
    list_push_back(&head, &items[0].node);
    check(&head, (const int[]){1, 4, 0}, 3);
    list_remove(&items[1].node);
    list_remove(&items[4].node);
    list_remove(&items[0].node);
    check(&head, NULL, 0);
}

static void test_foreach_removes(void **state)
{
    struct list head;
    struct list other;
    struct item items[ITEMS];
    int sum = 0;

    (void)state;
    list_init(&head);
    list_init(&other);
    init_items(items, ITEMS);
    for (size_t i = 0; i < ITEMS; i++)
        list_push_back(&head, &items[i].node);
    LIST_FOREACH(node, &head)
    {
        struct item *item = LIST_ENTRY(node, struct item, node);
        sum += item->value;
        if (item->value % 2 == 0) {
            list_remove(node);
            list_push_front(&other, node);
        }
    }
    assert_int_equal(sum, 10);
    check(&head, (const int[]){1, 3}, 2);
    check(&other, (const int[]){4, 2, 0}, 3);
}

static void test_move_all(void **state)
{
    struct list from;
    struct list to;
    struct list nodes[3];

    (void)state;
    list_init(&from);
    list_init(&to);
    list_move_all(&to, &from);
    assert_true(list_empty(&to) && list_empty(&from));
    for (size_t n = 1; n <= COUNT_OF(nodes); n++) {
        list_init(&from);
        list_init(&to);
        for (size_t i = 0; i < n; i++) {
            list_init(&nodes[i]);
            list_push_back(&from, &nodes[i]);
        }
        list_move_all(&to, &from);
        assert_true(list_empty(&from));
        size_t at = 0;
        LIST_FOREACH(it, &to)
        {
            assert_ptr_equal(it, &nodes[at++]);
            list_remove(it);
        }
        assert_int_equal(at, n);
        assert_true(list_empty(&to));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_move_all),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_foreach_removes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
