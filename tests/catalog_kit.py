"""A catalog under test: every write goes through it, and no write may leave a counter wrong."""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from enrich.catalog import counters, files, queue, report, steps
from enrich.catalog.engine import writing
from enrich.catalog.record import AnnotationRow, JobResult, record
from enrich.catalog.tables import Job

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
ROOT = Path("/pictures")

P = ParamSpec("P")
R = TypeVar("R")


def picture(image_hash: str, **facts: Any) -> dict[str, Any]:
    """What intake says of a picture's asset."""
    described = ("orientation", "taken_at", "taken_offset_minutes", "camera", "latitude", "longitude")
    plain = {"image_hash": image_hash, "media_type": "image/png", "width_px": 8, "height_px": 6, "pages": 1}
    return {**plain, **dict.fromkeys(described), "embedded": {}, **facts}


def file(name: str, asset: str | dict[str, Any] | None = None, **facts: Any) -> files.FileRecord:
    """A file below ROOT: of the picture ``asset`` (a hash, or all of its facts), else of no picture."""
    shown = picture(asset) if isinstance(asset, str) else asset
    state = "present" if shown else "ignored"
    columns = {"size_bytes": 9, "modified_ns": 1, "changed_ns": 1, "inode": 1, "state": state, **facts}
    return files.FileRecord(root=ROOT, path=ROOT / name, asset=shown, **columns)


def step(name: str, **facts: Any) -> steps.StepRow:
    """A step whose generator changes with ``options_digest``."""
    plain = {"priority": 0, "hook": "enrich_tag", "plugin": name, "plugin_revision": "1", "model": ""}
    more = {"model_revision": "", "options": {}, "options_digest": "0"}
    return steps.StepRow(name=name, **{**plain, **more, **facts})


def asking(name: str, *, shared: str = "", **questions: str) -> steps.StepRow:
    """A step with these questions; ``shared`` stands for its other options."""
    items = {item: steps.ItemRow({"question": text}, f"{shared} {text}") for item, text in questions.items()}
    digest = f"{shared} {sorted(questions.items())}"
    return step(name, hook="enrich_answer", options_digest=digest, items=items)


class Catalog:
    """Writes to an engine's catalog and reads it back with plain SQL."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.run_id = self.write(steps.start_run, "run", version="0", host="here", now=NOW)

    def write(
        self, function: Callable[Concatenate[sa.Connection, P], R], *args: P.args, **options: P.kwargs
    ) -> R:
        with writing(self.engine).begin() as connection:
            result = function(connection, *args, **options)
        miscounted = report.miscounted(self.engine)
        assert not miscounted, miscounted
        return result

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(sql), values).mappings()]

    def column(self, sql: str, **values: Any) -> list[Any]:
        return [next(iter(row.values())) for row in self.rows(sql, **values)]

    def sync(self, *configured: steps.StepRow) -> dict[str, int]:
        return self.write(steps.sync, configured, NOW)

    def ingest(self, *records: files.FileRecord, now: dt.datetime = NOW) -> list[files.Ingested]:
        return self.write(files.ingest, records, now)

    def claim(
        self,
        worker: str = "one",
        *,
        names: Sequence[str] = ("a", "b"),
        limit: int = 16,
        now: dt.datetime = NOW,
        lease_seconds: float = 60,
    ) -> list[queue.ClaimedAsset]:
        return self.write(
            queue.claim, worker=worker, steps=names, limit=limit, lease_seconds=lease_seconds, now=now
        )

    def record(self, *results: JobResult, worker: str = "one", now: dt.datetime = NOW) -> list[JobResult]:
        return self.write(record, results, worker=worker, run_id=self.run_id, now=now)

    def finish(
        self,
        asset: queue.ClaimedAsset,
        state: Any = "done",
        *,
        worker: str = "one",
        now: dt.datetime = NOW,
        **facts: Any,
    ) -> list[JobResult]:
        """Record what became of all claimed jobs of an asset."""
        generators = dict(self._generators())
        return self.record(
            *(
                JobResult(job.id, asset.id, job.step, job.attempts, state, generators[job.step], **facts)
                for job in asset.jobs
            ),
            worker=worker,
            now=now,
        )

    def annotate(self, asset_id: int, step_name: str, *rows: AnnotationRow, now: dt.datetime = NOW) -> None:
        """Let a step that is done with an asset, or due, say something of it."""
        self.write(make_due, asset_id, step_name)
        asset = next(asset for asset in self.claim(names=[step_name]) if asset.id == asset_id)
        self.finish(asset, annotations=rows, now=now)
        self.write(queue.release, "one", NOW)

    def _generators(self) -> list[tuple[str, int]]:
        return [(row["name"], row["generator_id"]) for row in self.rows("SELECT * FROM steps")]


def make_due(connection: sa.Connection, asset_id: int, step_name: str) -> None:
    """Make a finished job pending again, as a backfill would."""
    is_it = sa.and_(Job.asset_id == asset_id, Job.step == step_name)
    done = connection.execute(sa.select(Job.generator_id).where(is_it, Job.state == "done")).scalar()
    if done is not None:
        connection.execute(sa.update(Job).where(is_it).values(state="pending"))
        counters.add(connection, {(step_name, "done", done): -1, (step_name, "pending", 0): 1})


def said(kind: str, **columns: Any) -> AnnotationRow:
    """An annotation of the first page unless told otherwise."""
    tags = columns.pop("tags", ())
    vector = columns.pop("vector", None)
    plain = {"item": "", "page": 0, "text": None, "data": None, "confidence": None, "language": None}
    more = {"question": None, "is_empty": False, "provider": None, "elapsed_ms": None}
    return AnnotationRow({"kind": kind, **plain, **more, **columns}, tags=tags, vector=vector)
