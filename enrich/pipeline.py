"""One batch of assets through the steps, with no input or output but its arguments.

Each asset is decoded once, at the largest size any of its steps asks for; smaller renditions are
derived from that one and shared by steps of the same size. Steps run in the order of config.yaml,
and each sees what the earlier ones said.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from enrich.catalog.queue import ClaimedAsset, ClaimedJob
from enrich.catalog.record import AnnotationRow, JobResult
from enrich.errors import EnrichError, FileError, FileVanished
from enrich.results import Draft
from enrich.types import Rendition, Skip, Statement

if TYPE_CHECKING:
    from enrich.host import BoundStep, Host, Outcome

__all__ = ["UNREADABLE", "AssetResult", "Originals", "Pipeline", "backoff_seconds"]

#: Why the jobs of an asset are skipped whose original cannot be decoded; its file is the failure.
UNREADABLE = "unreadable"

#: Pages beyond the first are decoded and described so many at a time.
PAGES_AT_ONCE = 4

#: The first retry comes after about so long, each next one four times later, at most after an hour.
RETRY_SECONDS = 2.0
RETRY_FACTOR = 4.0
MAX_RETRY_SECONDS = 3600.0
#: A job whose file was not as catalogued waits so long for the catalog to learn of it.
DOUBT_SECONDS = 5.0


def backoff_seconds(attempts: int, chance: float) -> float:
    """Return how long to wait after ``attempts`` tries; ``chance`` (0..1) spreads the crowd."""
    return min(MAX_RETRY_SECONDS, RETRY_SECONDS * RETRY_FACTOR ** (attempts - 1)) * (0.5 + chance)


class Originals(Protocol):
    """Where a batch's pixels come from."""

    def first_pages(
        self, wanted: Sequence[tuple[ClaimedAsset, int]]
    ) -> list[tuple[Rendition, int] | FileError]:
        """Return, per (asset, longest edge in pixels), its first page and how many it has."""
        ...

    def more_pages(self, asset: ClaimedAsset, pages: Sequence[int], size_px: int) -> list[Rendition]:
        """Return some pages of an asset.

        Raises
        ------
        FileError
            One of them cannot be decoded.
        """
        ...


@dataclass(frozen=True, slots=True)
class AssetResult:
    """What became of one claimed asset.

    ``broken`` is set where its original cannot be decoded, ``is_doubted`` where its file is gone or
    another one than was catalogued.
    """

    asset: ClaimedAsset
    jobs: tuple[JobResult, ...]
    broken: FileError | None = None
    is_doubted: bool = False


@dataclass(slots=True)
class _Open:
    """An asset on its way through the steps."""

    asset: ClaimedAsset
    rendition: Rendition
    pages: int
    statements: list[Statement]
    results: list[JobResult] = field(default_factory=list)
    _sizes: dict[int, Rendition] = field(default_factory=dict)

    def at(self, size_px: int) -> Rendition:
        """Return the first page with a longest edge of at most ``size_px``."""
        if size_px >= max(self.rendition.width_px, self.rendition.height_px):
            return self.rendition
        if size_px not in self._sizes:
            self._sizes[size_px] = _smaller(self.rendition, size_px)
        return self._sizes[size_px]


class Pipeline:
    """The steps, in order.

    Parameters
    ----------
    host : Host
        Calls the plugins.
    steps : sequence of BoundStep
        In the order they run.
    generator_ids : mapping
        The catalog's generator of each step.
    max_attempts : int
        Tries before a job fails.
    chance : callable
        Returns 0..1; spreads retries.
    """

    def __init__(
        self,
        host: Host,
        steps: Sequence[BoundStep],
        generator_ids: Mapping[str, int],
        *,
        max_attempts: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._host = host
        self._steps = steps
        self._generator_ids = generator_ids
        self._max_attempts = max_attempts
        self._chance = chance
        self._by_name = {step.name: step for step in steps}

    def run(self, assets: Sequence[ClaimedAsset], originals: Originals) -> Iterator[AssetResult]:
        """Take claimed assets through their steps; yield what became of each."""
        wanted = [(asset, max(self._by_name[job.step].size_px for job in asset.jobs)) for asset in assets]
        opened: list[_Open] = []
        for asset, first in zip(assets, originals.first_pages(wanted), strict=True):
            if isinstance(first, FileError):
                yield self._unreadable(asset, first)
            else:
                said = [Statement(s.step, s.item, s.kind, s.text, s.data, s.confidence) for s in asset.said]
                opened.append(_Open(asset, *first, said))
        passed = self._filter(opened)
        for step in self._steps:
            chosen = [(item, job) for item in passed for job in item.asset.jobs if job.step == step.name]
            if chosen:
                self._run_step(step, chosen, originals)
        for item in opened:
            yield AssetResult(item.asset, tuple(item.results))

    def _filter(self, opened: list[_Open]) -> list[_Open]:
        """Return what the filters let pass; the others' jobs come to what they say."""
        passed = []
        outcomes = self._host.filters.look([item.rendition for item in opened])
        for item, outcome in zip(opened, outcomes, strict=True):
            if outcome is None:
                passed.append(item)
            else:
                item.results += [
                    self._result(self._by_name[job.step], item.asset, job, outcome, 0.0)
                    for job in item.asset.jobs
                ]
        return passed

    def _run_step(
        self, step: BoundStep, chosen: list[tuple[_Open, ClaimedJob]], originals: Originals
    ) -> None:
        started = time.perf_counter()
        renditions = [item.at(step.size_px) for item, _ in chosen]
        statements = [self._earlier(step, item) for item, _ in chosen]
        outcomes = self._host.describe(step, renditions, statements)
        elapsed_ms = (time.perf_counter() - started) * 1000 / len(chosen)
        for (item, job), outcome in zip(chosen, outcomes, strict=True):
            if step.all_pages and item.pages > 1:
                outcome = self._other_pages(step, item, outcome, originals)
            result = self._result(step, item.asset, job, outcome, elapsed_ms)
            item.results.append(result)
            if isinstance(outcome, list):
                item.statements = [said for said in item.statements if said.step != step.name]
                item.statements += [_statement(step, draft) for draft in outcome if draft.page == 0]

    def _earlier(self, step: BoundStep, item: _Open) -> tuple[Statement, ...]:
        earlier = set()
        for known in self._steps:
            if known.name == step.name:
                break
            earlier.add(known.name)
        return tuple(said for said in item.statements if said.step in earlier)

    def _other_pages(self, step: BoundStep, item: _Open, first: Outcome, originals: Originals) -> Outcome:
        """Return what all pages came to: their drafts, or the first failure, or the first page's skip."""
        if isinstance(first, EnrichError):
            return first
        drafts = [] if isinstance(first, Skip) else list(first)
        statements = self._earlier(step, item)
        for start in range(1, item.pages, PAGES_AT_ONCE):
            pages = range(start, min(start + PAGES_AT_ONCE, item.pages))
            try:
                renditions = originals.more_pages(item.asset, pages, step.size_px)
            except FileError as error:
                return error
            blocked = [one for one in self._host.filters.look(renditions) if one is not None]
            if blocked:
                return blocked[0]  # what is on one page is in the file
            for outcome in self._host.describe(step, renditions, [statements] * len(renditions)):
                if isinstance(outcome, EnrichError):
                    return outcome
                if not isinstance(outcome, Skip):
                    drafts += outcome
        return drafts or first

    def _result(
        self, step: BoundStep, asset: ClaimedAsset, job: ClaimedJob, outcome: Outcome, elapsed_ms: float
    ) -> JobResult:
        if isinstance(outcome, EnrichError):
            return self._failed(asset, job, outcome)
        if isinstance(outcome, Skip):
            return self._job(asset, job, "skipped", reason=outcome.reason)
        provider = getattr(step.model, "provider", None)
        rows = tuple(_row(draft, provider, elapsed_ms) for draft in outcome)
        return self._job(asset, job, "done", annotations=rows)

    def _unreadable(self, asset: ClaimedAsset, error: FileError) -> AssetResult:
        if isinstance(error, FileVanished):
            # Moved, replaced or offline: nobody's failure. The attempt is given back.
            later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=DOUBT_SECONDS)
            why = {"error_kind": error.kind, "error": str(error), "retry_at": later, "is_counted": False}
            jobs = tuple(self._job(asset, job, "pending", **why) for job in asset.jobs)
            return AssetResult(asset, jobs, is_doubted=True)
        if error.retryable:
            return AssetResult(asset, tuple(self._failed(asset, job, error) for job in asset.jobs))
        jobs = tuple(self._job(asset, job, "skipped", reason=UNREADABLE) for job in asset.jobs)
        return AssetResult(asset, jobs, broken=error)

    def _failed(self, asset: ClaimedAsset, job: ClaimedJob, error: EnrichError) -> JobResult:
        why = {"error_kind": error.kind, "error": str(error)}
        if not error.retryable or job.attempts >= self._max_attempts:
            return self._job(asset, job, "failed", **why)
        wait = dt.timedelta(seconds=backoff_seconds(job.attempts, self._chance()))
        return self._job(asset, job, "pending", retry_at=dt.datetime.now(dt.UTC) + wait, **why)

    def _job(self, asset: ClaimedAsset, job: ClaimedJob, state: Any, **facts: Any) -> JobResult:
        return JobResult(
            job.id, asset.id, job.step, job.attempts, state, self._generator_ids[job.step], **facts
        )

    def all_failed(self, assets: Sequence[ClaimedAsset], error: EnrichError) -> list[AssetResult]:
        """Return the results of a batch that ``error`` stopped as a whole."""
        return [
            AssetResult(asset, tuple(self._failed(asset, job, error) for job in asset.jobs))
            for asset in assets
        ]


def _smaller(rendition: Rendition, size_px: int) -> Rendition:
    import numpy as np

    image = rendition.image.copy()
    image.thumbnail((size_px, size_px), reducing_gap=2.0)
    pixels = np.asarray(image)
    pixels.flags.writeable = False
    return Rendition(
        rendition.asset_id,
        rendition.path,
        rendition.page,
        pixels,
        image.width,
        image.height,
        rendition.original_width_px,
        rendition.original_height_px,
        rendition.embedded,
    )


def _statement(step: BoundStep, draft: Draft) -> Statement:
    return Statement(step.name, draft.item, draft.kind, draft.text, draft.data, draft.confidence)


def _row(draft: Draft, provider: str | None, elapsed_ms: float) -> AnnotationRow:
    return AnnotationRow(
        {
            "item": draft.item,
            "page": draft.page,
            "kind": draft.kind,
            "text": draft.text,
            "data": draft.data,
            "confidence": draft.confidence,
            "language": draft.language,
            "question": draft.question,
            "is_empty": draft.is_empty,
            "provider": provider,
            "elapsed_ms": elapsed_ms,
        },
        tuple((tag.name, tag.confidence) for tag in draft.tags),
        None if draft.vector is None else draft.vector.astype("<f4").tobytes(),
    )
