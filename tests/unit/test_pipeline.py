"""One batch through the steps: their order, what they see of each other, pages, and failures."""

import datetime as dt
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import enrich
from enrich.catalog.queue import ClaimedAsset, ClaimedJob, Said
from enrich.errors import BrokenPicture, FileError, FileVanished, InferenceError
from enrich.host import Filters, Host
from enrich.host.discovery import Candidate
from enrich.pipeline import (
    MAX_RETRY_SECONDS,
    UNREADABLE,
    AssetResult,
    Pipeline,
    backoff_seconds,
)
from enrich.settings import Step
from enrich.types import Rendition, Skip


class Originals:
    """Pictures out of nothing: each asset has ``pages`` pages of ``side_px``, or an error."""

    def __init__(
        self, *, side_px: int = 32, pages: int = 1, errors: dict[int, FileError] | None = None
    ) -> None:
        self.asked: list[list[tuple[int, int]]] = []
        self.asked_pages: list[tuple[list[int], int]] = []
        self.page_error: FileError | None = None
        self._side_px, self._pages, self._errors = side_px, pages, errors or {}

    def first_pages(
        self, wanted: Sequence[tuple[ClaimedAsset, int]]
    ) -> list[tuple[Rendition, int] | FileError]:
        self.asked.append([(asset.id, size_px) for asset, size_px in wanted])
        return [
            self._errors.get(asset.id) or (self._page(asset, 0, size_px), self._pages)
            for asset, size_px in wanted
        ]

    def more_pages(self, asset: ClaimedAsset, pages: Sequence[int], size_px: int) -> list[Rendition]:
        self.asked_pages.append((list(pages), size_px))
        if self.page_error is not None:
            raise self.page_error
        return [self._page(asset, page, size_px) for page in pages]

    def _page(self, asset: ClaimedAsset, page: int, size_px: int) -> Rendition:
        side = min(self._side_px, size_px)
        pixels = np.zeros((side, side, 3), np.uint8)
        pixels.flags.writeable = False
        return Rendition(asset.id, asset.path, page, pixels, side, side, self._side_px, self._side_px)


def claimed(number: int, *steps: str, attempts: int = 1, said: tuple[Said, ...] = ()) -> ClaimedAsset:
    jobs = tuple(ClaimedJob(100 * number + index, step, attempts) for index, step in enumerate(steps))
    path = Path(f"{number}.png")
    return ClaimedAsset(number, Path("."), path, 9, 1, 1, "image/png", {"title": "t"}, jobs, said)


def pipeline(
    chance: float = 0.5, **plugins: Callable[..., Any] | tuple[Callable[..., Any], dict[str, Any]]
) -> Pipeline:
    """A pipeline whose steps are these functions, in order; each may come with keys of its step."""
    host, steps = Host(), []
    for name, given in plugins.items():
        function, keys = given if isinstance(given, tuple) else (given, {})
        module = types.ModuleType(name)
        setattr(module, function.__name__, enrich.hookimpl(function))
        host.register(module, Candidate(name, name, None, None, lambda: None))
        steps.append(host.bind(name, Step(plugin=name, **keys), None))
    ids = {name: number for number, name in enumerate(plugins, start=1)}
    return Pipeline(host, steps, ids, max_attempts=3, chance=lambda: chance)


def run(
    made: Pipeline, assets: Sequence[ClaimedAsset], originals: Originals | None = None
) -> list[AssetResult]:
    return list(made.run(assets, originals or Originals()))


def saying(text: str, calls: list[Any] | None = None) -> Callable[..., Any]:
    def enrich_caption(renditions: Any, context: Any) -> Any:
        if calls is not None:
            for item, said in zip(renditions, context.annotations, strict=True):
                calls.append((text, item.asset_id, [(other.step, other.text) for other in said]))
        return [enrich.Caption(text) for _ in renditions]

    return enrich_caption


def raising(error: Exception) -> Callable[..., Any]:
    def enrich_tag(renditions: Any) -> Any:
        raise error

    return enrich_tag


def test_steps_run_in_their_order_and_see_what_earlier_ones_said() -> None:
    calls: list[Any] = []
    made = pipeline(one=saying("1", calls), two=saying("2", calls), three=saying("3", calls))
    results = run(made, [claimed(7, "three", "one"), claimed(8, "two", "three")])
    assert calls == [
        ("1", 7, []),
        ("2", 8, []),
        ("3", 7, [("one", "1")]),
        ("3", 8, [("two", "2")]),
    ]
    assert [[job.step for job in result.jobs] for result in results] == [["one", "three"], ["two", "three"]]


def test_what_the_catalog_knows_of_earlier_steps_is_seen_and_of_later_ones_is_not() -> None:
    calls: list[Any] = []
    made = pipeline(one=saying("1"), two=saying("2", calls), three=saying("3"))
    said = tuple(Said(step, "", "caption", f"old {step}", None, None) for step in ("one", "three", "removed"))
    run(made, [claimed(7, "two", said=said)])
    assert calls == [("2", 7, [("one", "old one")])]


def test_what_is_said_now_replaces_what_the_catalog_knew() -> None:
    calls: list[Any] = []
    made = pipeline(one=saying("new"), two=saying("2", calls))
    run(made, [claimed(7, "one", "two", said=(Said("one", "", "caption", "old", None, None),))])
    assert calls == [("2", 7, [("one", "new")])]


def test_a_done_job_carries_its_annotations_generator_and_provenance() -> None:
    def enrich_tag(renditions: Any) -> Any:
        return [[enrich.Tag("cat", 0.5)] for _ in renditions]

    def enrich_embed(renditions: Any) -> Any:
        return [enrich.Embedding(np.array([0, 1], np.float32)) for _ in renditions]

    (result,) = run(pipeline(tags=enrich_tag, place=enrich_embed), [claimed(7, "tags", "place")])
    tags, place = result.jobs
    assert (tags.job_id, tags.asset_id, tags.attempts, tags.state, tags.generator_id) == (
        700,
        7,
        1,
        "done",
        1,
    )
    (row,) = tags.annotations
    assert row.tags == (("cat", 0.5),)
    assert row.columns["text"] == "cat"
    assert row.columns["kind"] == "tags"
    assert row.columns["elapsed_ms"] > 0
    assert row.columns["provider"] is None
    assert place.annotations[0].vector == b"\0\0\0\0\0\0\x80\x3f"
    assert place.generator_id == 2


def test_each_asset_is_decoded_once_at_the_largest_size_and_the_others_are_derived() -> None:
    seen: list[Any] = []

    def looking(name: str) -> Callable[..., Any]:
        def enrich_data(renditions: Any) -> Any:
            seen.extend(
                (name, item.pixels.shape, item.width_px, item.original_width_px) for item in renditions
            )
            assert not any(item.pixels.flags.writeable for item in renditions)
            return [{} for _ in renditions]

        return enrich_data

    made = pipeline(
        small=(looking("small"), {"size_px": 16}),
        large=(looking("large"), {"size_px": 32}),
        same=(looking("same"), {"size_px": 16}),
    )
    originals = Originals(side_px=64)
    run(made, [claimed(7, "small", "large", "same"), claimed(8, "small")], originals)
    assert originals.asked == [[(7, 32), (8, 16)]]
    assert seen == [
        ("small", (16, 16, 3), 16, 64),
        ("small", (16, 16, 3), 16, 64),
        ("large", (32, 32, 3), 32, 64),
        ("same", (16, 16, 3), 16, 64),
    ]


def test_one_step_that_fails_leaves_the_others_alone() -> None:
    made = pipeline(bad=raising(ValueError("no")), good=saying("fine"))
    (result,) = run(made, [claimed(7, "bad", "good")])
    bad, good = result.jobs
    assert (bad.state, bad.error_kind) == ("failed", "plugin_failed")
    assert str(bad.error).startswith("plugin bad raised ValueError: no")
    assert (good.state, good.annotations[0].columns["text"]) == ("done", "fine")
    assert result.broken is None


def test_a_skip_is_a_state_with_its_reason() -> None:
    def enrich_tag(renditions: Any) -> Any:
        return [Skip("outside_domain") for _ in renditions]

    (result,) = run(pipeline(shy=enrich_tag), [claimed(7, "shy")])
    (job,) = result.jobs
    assert (job.state, job.reason, job.annotations, job.error) == ("skipped", "outside_domain", (), None)


@pytest.mark.parametrize(
    ("error", "attempts", "state"),
    [
        (ValueError("wrong"), 1, "failed"),
        (InferenceError("refused"), 1, "failed"),
        (OSError("disk"), 1, "pending"),
        (OSError("disk"), 2, "pending"),
        (OSError("disk"), 3, "failed"),
        (OSError("disk"), 4, "failed"),
    ],
)
def test_only_passing_trouble_is_tried_again_and_not_for_ever(
    error: Exception, attempts: int, state: str
) -> None:
    before = dt.datetime.now(dt.UTC)
    (result,) = run(pipeline(bad=raising(error)), [claimed(7, "bad", attempts=attempts)])
    (job,) = result.jobs
    assert job.state == state
    assert job.error
    if state == "failed":
        assert job.retry_at is None
    else:
        assert job.retry_at is not None
        waited = (job.retry_at - before).total_seconds()
        assert waited == pytest.approx(backoff_seconds(attempts, 0.5), abs=5)


def test_the_wait_grows_fourfold_is_spread_and_has_an_end() -> None:
    assert [backoff_seconds(attempts, 0.5) for attempts in (1, 2, 3)] == [2, 8, 32]
    assert (backoff_seconds(1, 0), backoff_seconds(1, 1)) == (1, 3)
    assert backoff_seconds(50, 0.5) == MAX_RETRY_SECONDS


def test_the_chance_passed_in_spreads_retries() -> None:
    def wait(chance: float) -> float:
        made = pipeline(chance=chance, bad=raising(OSError()))
        retry_at = run(made, [claimed(7, "bad", attempts=2)])[0].jobs[0].retry_at
        assert retry_at is not None
        return (retry_at - dt.datetime.now(dt.UTC)).total_seconds()

    assert wait(1.0) - wait(0.0) == pytest.approx(8, abs=1)


def test_an_original_that_cannot_be_decoded_is_one_broken_file_and_skipped_jobs() -> None:
    broken = BrokenPicture("cut off")
    originals = Originals(errors={7: broken})
    seven, eight = run(
        pipeline(one=saying("1"), two=saying("2")), [claimed(7, "one", "two"), claimed(8, "one")], originals
    )
    assert seven.broken is broken
    assert [(job.state, job.reason, job.error) for job in seven.jobs] == [("skipped", UNREADABLE, None)] * 2
    assert eight.broken is None
    assert [job.state for job in eight.jobs] == ["done"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_an_original_that_vanished_is_nobodys_failure(attempts: int) -> None:
    originals = Originals(errors={7: FileVanished("gone")})
    (result,) = run(pipeline(one=saying("1")), [claimed(7, "one", attempts=attempts)], originals)
    assert result.broken is None
    assert result.is_doubted
    assert (result.jobs[0].state, result.jobs[0].error_kind) == ("pending", "vanished")
    assert not result.jobs[0].is_counted


def paging(refused: int | None = None, skipped: Sequence[int] = ()) -> Callable[..., Any]:
    def enrich_text(renditions: Any) -> Any:
        if any(item.page == refused for item in renditions):
            raise ValueError(f"page {refused}")
        return [
            Skip("blank") if item.page in skipped else [enrich.TextLine(f"page {item.page}")]
            for item in renditions
        ]

    return enrich_text


def pages_said(made: Pipeline, originals: Originals) -> Any:
    (result,) = run(made, [claimed(7, *(step.name for step in made._steps))], originals)
    job = result.jobs[0]
    said = [(row.columns["page"], row.columns["text"]) for row in job.annotations]
    return said or job.reason or job.error


def test_all_pages_are_described_where_a_step_asks_for_them_and_some_at_a_time() -> None:
    originals = Originals(pages=6)
    said = pages_said(pipeline(ocr=(paging(), {"pages": "all", "size_px": 16})), originals)
    assert said == [(page, f"page {page}") for page in range(6)]
    assert originals.asked_pages == [([1, 2, 3, 4], 16), ([5], 16)]


def test_only_the_first_page_is_described_otherwise() -> None:
    originals = Originals(pages=6)
    assert pages_said(pipeline(ocr=paging()), originals) == [(0, "page 0")]
    assert originals.asked_pages == []


@pytest.mark.parametrize(
    ("skipped", "said"),
    [([0], [(1, "page 1"), (2, "page 2")]), ([1, 2], [(0, "page 0")]), ([0, 1, 2], "blank")],
)
def test_skipped_pages_are_left_out_and_all_of_them_skip_the_job(skipped: list[int], said: Any) -> None:
    made = pipeline(ocr=(paging(skipped=skipped), {"pages": "all"}))
    assert pages_said(made, Originals(pages=3)) == said


@pytest.mark.parametrize("refused", [0, 2])
def test_a_page_that_fails_fails_the_job(refused: int) -> None:
    made = pipeline(ocr=(paging(refused=refused), {"pages": "all"}))
    assert f"ValueError: page {refused}" in pages_said(made, Originals(pages=3))


def test_a_page_that_cannot_be_decoded_fails_the_job_and_not_the_file() -> None:
    originals = Originals(pages=3)
    originals.page_error = BrokenPicture("page 1 is cut off")
    made = pipeline(ocr=(paging(), {"pages": "all"}), tags=saying("1"))
    (result,) = run(made, [claimed(7, "ocr", "tags")], originals)
    assert [(job.state, job.error_kind) for job in result.jobs] == [("failed", "broken"), ("done", None)]
    assert result.broken is None


def test_later_steps_see_the_first_page_only() -> None:
    calls: list[Any] = []
    made = pipeline(ocr=(paging(), {"pages": "all"}), caption=saying("c", calls))
    pages_said(made, Originals(pages=3))
    assert calls == [("c", 7, [("ocr", "page 0")])]


def test_a_batch_that_is_stopped_as_a_whole_costs_each_job_one_attempt() -> None:
    made = pipeline(one=saying("1"))
    retryable = FileVanished("the disk went away")
    first, last = made.all_failed([claimed(7, "one"), claimed(8, "one", attempts=3)], retryable)
    assert (first.jobs[0].state, last.jobs[0].state) == ("pending", "failed")


# Filters


def filtered(guard: Callable[[Rendition], Any], **keys: Any) -> tuple[Pipeline, list[Any]]:
    """A pipeline of two steps behind a filter, and what the first step was asked."""
    calls: list[Any] = []

    def enrich_moderate(renditions: Any) -> Any:
        return [guard(one) for one in renditions]

    host = Host()
    for name, function in (("guard", enrich_moderate), ("one", saying("a", calls)), ("two", saying("b"))):
        module = types.ModuleType(name)
        setattr(module, function.__name__, enrich.hookimpl(function))
        host.register(module, Candidate(name, name, None, None, lambda: None))
    host.filters = Filters.bind(host, {}, None)
    steps = [host.bind(name, Step(plugin=name, **keys), None) for name in ("one", "two")]
    return Pipeline(host, steps, {"one": 1, "two": 2}, max_attempts=3), calls


def test_what_a_filter_blocks_is_skipped_by_all_steps_with_its_reason() -> None:
    made, calls = filtered(lambda one: "two" if one.asset_id == 2 else None)
    results = run(made, [claimed(number, "one", "two") for number in (1, 2, 3)])
    assert {
        result.asset.id: [(job.step, job.state, job.reason) for job in result.jobs] for result in results
    } == {
        1: [("one", "done", None), ("two", "done", None)],
        2: [("one", "skipped", "two"), ("two", "skipped", "two")],
        3: [("one", "done", None), ("two", "done", None)],
    }
    assert [asset_id for _, asset_id, _ in calls] == [1, 3]


def test_where_a_filter_fails_the_jobs_fail() -> None:
    def guard(one: Rendition) -> Any:
        raise RuntimeError("no eyes")

    made, calls = filtered(guard)
    (result,) = run(made, [claimed(1, "one")])
    assert [(job.state, job.error_kind, job.annotations) for job in result.jobs] == [
        ("failed", "plugin_failed", ())
    ]
    assert calls == []


def test_a_page_that_a_filter_blocks_blocks_the_file() -> None:
    made, _ = filtered(lambda one: "page two" if one.page == 1 else None, pages="all")
    (result,) = run(made, [claimed(1, "one")], Originals(pages=3))
    assert [(job.state, job.reason) for job in result.jobs] == [("skipped", "page two")]
