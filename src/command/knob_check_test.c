/* SPDX-License-Identifier: MIT */
/* Catches: a backend or model that is set although nothing would answer for it; a model that goes
 * to another backend than was meant; what only administrators may change, changed by others. */
#include "command/command_test_priv.h"

#include "state/model_alias.h"

/* A session's model and backend go together as they were set. */
static void models(void **state)
{
    struct fixture *f = *state;

    fixture_restart(f);
    assert_true(run(f, "set(model=router:a/b)"));
    assert_str(f->draft.backend, "router");
    assert_int_equal(f->changed, SETTING_BIT(model) | SETTING_BIT(backend));
    /* router's names have slashes: the session's backend counts, not the default one. */
    assert_true(run(f, "model(openai/gpt-4o)"));
    assert_str(f->draft.backend, "router");
    assert_str(f->draft.model, "openai/gpt-4o");
    assert_true(run(f, "backend(openai)"));
    assert_str(f->draft.model, "openai/gpt-4o");
    assert_true(run(f, "unset(model)"));
    assert_str(f->draft.backend, "openai");
    assert_str(f->draft.model, NULL);
    /* In the order in which they stand. */
    assert_true(run(f, "set(model=router:x, backend=tags)"));
    assert_str(f->draft.backend, "tags");
    assert_true(run(f, "set(backend=tags, model=router:y)"));
    assert_reply(f, "both",
                 "Backend changed to tags\nBackend changed to router\nModel changed to y");
    assert_str(f->draft.backend, "router");
    /* tags' names have colons. */
    assert_true(run(f, "set(backend=tags, model=llama:8b)"));
    assert_str(f->draft.model, "llama:8b");
    assert_true(run(f, "oneoff(llama:70b)"));
    assert_str(f->draft.oneoff, "tags:llama:70b");
    /* A backend that a reload took away is none: the default one counts. */
    f->draft.backend = STR("gone");
    assert_true(run(f, "set(model=router/x)"));
    assert_str(f->draft.backend, "router");
}

static void model_lists(void **state)
{
    struct fixture *f = *state;

    fixture_restart(f);
    f->listed = COMMAND_MODEL_NOT_LISTED;
    assert_true(run(f, "set(model=router:x, project=p)"));
    assert_reply(f, "warned",
                 "Backend changed to router\nModel changed to x\n"
                 "Model x is not in router's list; it is used all the same\n"
                 "Project changed to p");
    assert_str(f->draft.model, "x");
    assert_true(run(f, "oneoff(openai:y)"));
    assert_has(f, "One-off route set to openai/y.\nModel y is not in openai's list");
    f->listed = COMMAND_MODEL_LISTED;
    assert_true(run(f, "model(y)"));
    assert_reply(f, "listed", "Model changed to y");
    /* Only in interactive mode. */
    f->listed = COMMAND_MODEL_NOT_LISTED;
    assert_true(run(f, "interactive(off)"));
    assert_true(run(f, "model(z)"));
    assert_reply(f, "silent", "Model changed to z");
}

static void default_backend(void **state)
{
    struct fixture *f = *state;

    fixture_restart(f);
    assert_true(run(f, "set(default-backend=router)"));
    assert_reply(f, "set", "Default backend changed to router");
    assert_str(f->new_server_backend, "router");
    assert_int_equal(f->changed, 0);
    /* What failed leaves what was to be. */
    assert_false(run(f, "set(default-backend=demo, temperature=9)"));
    assert_str(f->new_server_backend, "router");
    assert_true(run(f, "unset(default-backend)"));
    assert_false(str_is_null(f->new_server_backend));
    assert_int_equal(f->new_server_backend.n, 0);

    fixture_restart(f);
    assert_false(run(f, "set(default-backend=gemini)"));
    assert_begins(f, "gemini", "Backend gemini not functional");
    f->env.is_admin = false;
    assert_false(run(f, "set(default-backend=router)"));
    assert_reply(f, "refused", "default-backend is for administrators: this key is not one's");
    assert_false(run(f, "unset(default-backend)"));
    assert_reply(f, "refused", "default-backend is for administrators: this key is not one's");
    assert_true(str_is_null(f->new_server_backend));
}

/* An alias is what it stands for when it is set. */
static void aliases(void **state)
{
    struct fixture *f = *state;
    struct error e;

    fixture_restart(f);
    struct model_aliases *made = model_alias_list_new(2, &f->arena);
    assert_int_equal(model_alias_list_add(made, STR("fast"), STR("router:quick/1"), false, &e), OK);
    assert_int_equal(model_alias_list_add(made, STR("^gpt-4(.*)$"), STR("openai:new\\1"), true, &e),
                     OK);
    model_alias_list_sort(made);
    f->config->model_aliases = made;
    assert_true(run(f, "model(fast)"));
    assert_reply(f, "alias", "Backend changed to router; Model changed to quick/1");
    assert_true(run(f, "oneoff(gpt-4o)"));
    assert_str(f->draft.oneoff, "openai:newo");
    assert_true(run(f, "set(model=faster)"));
    assert_str(f->draft.model, "faster");
    f->config->model_aliases = NULL;
    model_alias_list_fini(made);
}

/* Nothing works: what would help is told. */
static void no_backend(void **state)
{
    struct fixture *f = *state;
    struct backend_set empty = *f->set;

    fixture_restart(f);
    empty.n = 0;
    empty.preferred = NULL;
    f->env.backends = &empty;
    f->env.preferred = NULL;
    assert_false(run(f, "set(model=x)"));
    assert_begins(f, "none", "No functional backends available: ");
    assert_false(run(f, "oneoff(openai:x)"));
    assert_begins(f, "none", "No functional backends available: ");
    assert_false(run(f, "set(backend=openai)"));
    assert_begins(f, "none", "Backend openai not supported");
    assert_true(run(f, "set(project=p)"));
    assert_true(run(f, "hello"));
    assert_has(f, "Functional backends: none\n");
    assert_true(run(f, "status"));
    assert_has(f, "\nbackend: none");
    f->env.backends = f->set;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models),  cmocka_unit_test(model_lists), cmocka_unit_test(default_backend),
        cmocka_unit_test(aliases), cmocka_unit_test(no_backend),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
