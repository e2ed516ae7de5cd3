"""Steps as configured, from run to run."""

from catalog_kit import NOW, Catalog, asking, file, said, step

from enrich.catalog import report, steps


def test_a_new_step_has_a_job_for_every_asset(catalog: Catalog) -> None:
    catalog.ingest(file("a.png", "one"), file("b.png", "two"))
    catalog.sync(step("a", priority=7))
    jobs = "SELECT asset_id, step, state, attempts, priority FROM jobs ORDER BY asset_id"
    assert [tuple(row.values()) for row in catalog.rows(jobs)] == [
        (1, "a", "pending", 0, 7),
        (2, "a", "pending", 0, 7),
    ]
    catalog.sync(step("a", priority=7))
    assert catalog.column("SELECT count(*) FROM jobs") == [2]
    catalog.ingest(file("c.png", "three"))
    catalog.sync(step("a", priority=7), step("b"))
    assert catalog.column("SELECT count(*) FROM jobs WHERE step = 'b'") == [3]


def test_a_removed_step_keeps_what_it_said(catalog: Catalog) -> None:
    catalog.sync(step("a"), step("b"))
    catalog.ingest(file("a.png", "one"))
    catalog.annotate(1, "a", said("caption", text="A dog."))
    catalog.sync(step("b"))
    assert catalog.rows("SELECT name, is_active FROM steps ORDER BY name") == [
        {"name": "a", "is_active": False},
        {"name": "b", "is_active": True},
    ]
    assert catalog.column("SELECT text FROM captions") == ["A dog."]
    assert catalog.column("SELECT step FROM coverage") == ["b"]
    catalog.ingest(file("b.png", "two"))
    assert catalog.column("SELECT step FROM jobs WHERE asset_id = 2") == ["b"]
    catalog.sync(step("a"))
    assert catalog.column("SELECT asset_id FROM jobs WHERE step = 'a' AND state = 'pending'") == [2]


def test_a_changed_generator_is_a_new_one_and_starts_no_work(catalog: Catalog) -> None:
    old = catalog.sync(step("a"))
    catalog.ingest(file("a.png", "one"))
    catalog.annotate(1, "a", said("caption", text="A dog."))
    jobs = catalog.rows("SELECT * FROM jobs")
    for changed in (
        {"options": {"threshold": 0.5}, "options_digest": "1"},
        {"plugin_revision": "2"},
        {"model": "m"},
        {"model": "m", "model_revision": "r2"},
        {"hook": "enrich_caption"},
    ):
        new = catalog.sync(step("a", **changed))
        assert new != old
        assert catalog.rows("SELECT * FROM jobs") == jobs
        assert catalog.column("SELECT stale FROM coverage") == [1]
        assert catalog.column("SELECT is_stale FROM captions") == [True]
        catalog.ingest(file("a.png", "one"))
    assert catalog.sync(step("a")) == old, "the old options are the old generator"
    assert catalog.column("SELECT stale FROM coverage") == [0]
    assert catalog.column("SELECT count(*) FROM generators") == [6]


def test_a_changed_priority_reaches_the_pending_jobs(catalog: Catalog) -> None:
    catalog.sync(step("a"))
    catalog.ingest(file("a.png", "one"))
    catalog.sync(step("a", priority=-3))
    assert catalog.column("SELECT priority FROM jobs") == [-3]


def test_coverage_is_in_the_order_of_the_configuration(catalog: Catalog) -> None:
    for order in (["b", "a", "c"], ["c", "b", "a"]):
        catalog.sync(*map(step, order))
        assert catalog.column("SELECT step FROM coverage") == order


def test_trouble_is_said_of_its_step_until_it_is_over(catalog: Catalog) -> None:
    catalog.sync(step("a"), step("b"))
    catalog.write(steps.set_trouble, "a", "the model is broken", NOW)
    catalog.sync(step("a", priority=3), step("b"))
    shown = {
        row["step"]: (row["trouble"], row["paused_until"]) for row in report.status(catalog.engine)["steps"]
    }
    assert shown == {"a": ("the model is broken", NOW), "b": (None, None)}
    catalog.write(steps.set_trouble, "a", None, None)
    assert [row["paused_until"] for row in report.status(catalog.engine)["steps"]] == [None, None]


def stale(catalog: Catalog) -> tuple[set[str], int]:
    """The stale answers and how many jobs are stale, as every place says it that says so."""
    in_view = set(catalog.column("SELECT item FROM answers WHERE is_stale"))
    shown = report.show(catalog.engine, "asset", 1)["annotations"]
    assert {row["item"] for row in shown if row["is_stale"]} == in_view
    (jobs,) = catalog.column("SELECT stale FROM coverage")
    assert [row["stale"] for row in report.status(catalog.engine)["steps"]] == [jobs]
    return in_view, jobs


def answer(catalog: Catalog, *items: str) -> None:
    catalog.annotate(1, "a", *(said("answer", item=item, question=item, text="yes") for item in items))


def test_an_edited_question_makes_exactly_its_answers_stale(catalog: Catalog) -> None:
    catalog.sync(asking("a", color="What colour?", people="How many?"))
    catalog.ingest(file("a.png", "one"))
    answer(catalog, "color", "people")
    assert stale(catalog) == (set(), 0)
    catalog.sync(asking("a", color="What colour?", people="How many people?"))
    assert stale(catalog) == ({"people"}, 1)
    answer(catalog, "color", "people")
    assert stale(catalog) == (set(), 0)
    catalog.sync(asking("a", color="What colour?", people="How many?"))
    assert stale(catalog) == ({"people"}, 1), "the old question is asked again, and was not answered last"


def test_a_new_question_makes_the_jobs_stale_and_no_answer(catalog: Catalog) -> None:
    catalog.sync(asking("a", color="What colour?"))
    catalog.ingest(file("a.png", "one"))
    answer(catalog, "color")
    catalog.sync(asking("a", color="What colour?", people="How many?"))
    assert stale(catalog) == (set(), 1)


def test_a_question_that_is_asked_no_more_leaves_all_as_it_is(catalog: Catalog) -> None:
    catalog.sync(asking("a", color="What colour?", people="How many?"))
    catalog.ingest(file("a.png", "one"))
    answer(catalog, "color", "people")
    catalog.sync(asking("a", people="How many?"))
    assert stale(catalog) == (set(), 0)
    assert catalog.column("SELECT item FROM answers ORDER BY item") == ["color", "people"]


def test_another_option_makes_all_answers_stale(catalog: Catalog) -> None:
    catalog.sync(asking("a", color="What colour?", people="How many?"))
    catalog.ingest(file("a.png", "one"))
    answer(catalog, "color", "people")
    catalog.sync(asking("a", shared="beams: 3", color="What colour?", people="How many?"))
    assert stale(catalog) == ({"color", "people"}, 1)
    catalog.sync(step("a", hook="enrich_answer", options_digest="without any question"))
    assert stale(catalog) == ({"color", "people"}, 1)


def test_an_answer_is_shown_with_its_own_question_as_its_generator(catalog: Catalog) -> None:
    catalog.sync(asking("a", color="What colour?", people="How many?"))
    catalog.ingest(file("a.png", "one"))
    answer(catalog, "color", "people")
    shown = report.show(catalog.engine, "asset", 1)["annotations"]
    assert {row["item"]: row["generator"]["options"]["question"] for row in shown} == {
        "color": "What colour?",
        "people": "How many?",
    }
