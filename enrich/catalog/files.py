"""Files and assets: what intake writes and what a scan compares against."""

from __future__ import annotations

import datetime as dt
import os
import zlib
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from enrich.catalog import counters
from enrich.catalog.clean import clean_integer, escape_path, path_digest, unescape_path
from enrich.catalog.tables import Asset, File, Job, Step

__all__ = [
    "FileRecord",
    "Ingested",
    "Known",
    "examples",
    "fail_original",
    "failed_paths",
    "fingerprint",
    "folders_below",
    "holds_any",
    "ingest",
    "known",
    "known_at",
    "mark_missing",
    "sums",
]


#: How many values one statement may list; PostgreSQL's limit is 65,535.
MAX_PARAMETERS = 10_000


class Known(NamedTuple):
    """A file as the catalog last saw it."""

    folder: str
    id: int
    path: str
    state: str
    size_bytes: int
    modified_ns: int
    changed_ns: int
    root: str = ""

    def is_unchanged(self, status: os.stat_result) -> bool:
        """Whether the file still looks as it did; a missing one that is back does not."""
        # Not the inode: a network file system may number files anew at each mount.
        return (
            self.modified_ns == clean_integer(status.st_mtime_ns)
            and self.size_bytes == status.st_size
            and self.changed_ns == clean_integer(status.st_ctime_ns)
            and self.state != "missing"
        )


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What intake found out about one file.

    ``asset`` holds the columns of ``assets`` where the file is a picture, else None.
    """

    root: Path
    path: Path
    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    state: str
    media_type: str | None = None
    sha256: str | None = None
    sha1: str | None = None
    error_kind: str | None = None
    error: str | None = None
    asset: Mapping[str, Any] | None = None

    @property
    def looks(self) -> tuple[int, int, int]:
        """What changes when the file is written to: size, modification and change time."""
        return self.size_bytes, self.modified_ns, self.changed_ns


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a FileRecord."""

    path: Path
    state: str
    asset_id: int | None
    is_new_asset: bool


def fingerprint(name: str, size_bytes: int, modified_ns: int, changed_ns: int) -> int:
    """Return 40 bits of how a file looks; a folder whose sum is as it was did not change.

    40, so that the sum of eight million files fits into SQL's integers. Python hashes tuples of
    integers alike in every process; where another one hashes differently, sums differ and folders
    are compared row by row: slower, and not wrong.
    """
    named = zlib.crc32(name.encode("utf-8", "surrogateescape"))
    return hash((named, size_bytes, modified_ns, changed_ns)) & 0xFF_FFFF_FFFF


def sums(connection: sa.Connection, folders: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return, of each escaped folder, how many files are not missing and the sum of their fingerprints."""
    statement = (
        sa.select(File.folder, sa.func.count(), sa.func.sum(File.fingerprint))
        .where(File.folder.in_(folders), File.state != "missing")
        .group_by(File.folder)
    )
    return {folder: (count, int(total)) for folder, count, total in connection.execute(statement)}


def known(connection: sa.Connection, folders: Sequence[str]) -> dict[str, dict[str, Known]]:
    """Return the files catalogued in each escaped folder (not below it), by folder and escaped path."""
    columns = [getattr(File, name) for name in Known._fields]
    statement = sa.select(*columns).where(File.folder.in_(folders))
    found: dict[str, dict[str, Known]] = {}
    for row in connection.execute(statement).all():
        found.setdefault(row.folder, {})[row.path] = Known._make(row)
    return found


def known_at(connection: sa.Connection, paths: Sequence[Path]) -> dict[Path, Known]:
    """Return the files catalogued at these paths."""
    by_digest = {path_digest(path): path for path in paths}
    digests = list(by_digest)
    columns = [getattr(File, name) for name in Known._fields]
    found: dict[Path, Known] = {}
    for start in range(0, len(digests), MAX_PARAMETERS):
        statement = sa.select(File.path_digest, *columns).where(
            File.path_digest.in_(digests[start : start + MAX_PARAMETERS])
        )
        for digest, *row in connection.execute(statement):
            found[by_digest[digest]] = Known._make(row)
    return found


def examples(connection: sa.Connection, root: Path, limit: int) -> list[Path]:
    """Return at most ``limit`` of a root's present files: of the oldest and of the newest rows."""
    present = sa.select(File.path).where(File.root == escape_path(root), File.state == "present")
    found: dict[str, None] = {}
    for order, count in ((File.id, limit - limit // 2), (File.id.desc(), limit // 2)):
        found |= dict.fromkeys(connection.execute(present.order_by(order).limit(count)).scalars())
    return [unescape_path(path) for path in found]


def holds_any(connection: sa.Connection, root: Path) -> bool:
    """Whether any file of a root, or directly in that folder, is catalogued and not missing."""
    escaped = escape_path(root)
    found = sa.select(File.id).where(
        File.state != "missing", (File.root == escaped) | (File.folder == escaped)
    )
    return connection.execute(found.limit(1)).first() is not None


def folders_below(connection: sa.Connection, folder: Path) -> set[str]:
    """Return the escaped folders at and below ``folder`` that hold catalogued files not yet missing."""
    top = escape_path(folder)
    below = top.rstrip("/") + "/"
    statement = (
        sa.select(File.folder)
        .distinct()
        .where(
            File.state != "missing",
            (File.folder == top) | (sa.func.substr(File.folder, 1, len(below)) == below),
        )
    )
    return set(connection.execute(statement).scalars())


def mark_missing(connection: sa.Connection, file_ids: Iterable[int], now: dt.datetime) -> int:
    """Record that these files are no longer where they were; return how many were."""
    deltas: Tally[tuple[str, str, int]] = Tally()
    ids = list(file_ids)
    for start in range(0, len(ids), MAX_PARAMETERS):
        is_there = sa.and_(File.id.in_(ids[start : start + MAX_PARAMETERS]), File.state != "missing")
        for state in connection.execute(sa.select(File.state).where(is_there)).scalars():
            deltas[counters.FILES, state, 0] -= 1
            deltas[counters.FILES, "missing", 0] += 1
        connection.execute(sa.update(File).where(is_there).values(state="missing", missing_at=now))
    counters.add(connection, deltas)
    return deltas[counters.FILES, "missing", 0]


def failed_paths(connection: sa.Connection) -> list[tuple[Path, Path]]:
    """Return (root, path) of every file that failed."""
    rows = connection.execute(sa.select(File.root, File.path).where(File.state == "failed").order_by(File.id))
    return [(unescape_path(root), unescape_path(path)) for root, path in rows]


def fail_original(connection: sa.Connection, asset_id: int, kind: str, error: str) -> int:
    """Record that an asset's present files cannot be decoded, whoever tries; return how many."""
    statement = (
        sa.update(File)
        .where(File.asset_id == asset_id, File.state == "present")
        .values(state="failed", error_kind=kind, error=error)
    )
    moved = connection.execute(statement).rowcount
    counters.add(connection, {(counters.FILES, "present", 0): -moved, (counters.FILES, "failed", 0): moved})
    return moved


def ingest(
    connection: sa.Connection, records: Sequence[FileRecord], now: dt.datetime, *, describes: bool = True
) -> list[Ingested]:
    """Write files, the assets that are new, and a job per asset and active step.

    The same picture at another path is the same asset; a file whose content changed moves to the
    asset of its new content. All in the caller's transaction. What is embedded in a file is said of its
    asset, also where that was here before; not so without ``describes``, for files of strangers.
    """
    deltas: Tally[tuple[str, str, int]] = Tally()
    asset_ids, new_ids = _ensure_assets(connection, records, now, describes=describes)
    _enqueue(connection, sorted(new_ids), now, deltas)
    digests = [path_digest(record.path) for record in records]
    before = dict(
        connection.execute(sa.select(File.path_digest, File.state).where(File.path_digest.in_(digests))).all()
    )
    rows, results = {}, []
    for record, digest in zip(records, digests, strict=True):
        asset_id = asset_ids[record.asset["image_hash"]] if record.asset else None
        rows[digest] = _file_row(record, digest, asset_id, now)
        results.append(Ingested(record.path, record.state, asset_id, asset_id in new_ids))
        new_ids.discard(asset_id or 0)  # only the first file of a batch brings the asset
    for digest, row in rows.items():
        if digest in before:
            deltas[counters.FILES, before[digest], 0] -= 1
        deltas[counters.FILES, row["state"], 0] += 1
    _upsert_files(connection, list(rows.values()))
    counters.add(connection, deltas)
    return results


def _ensure_assets(
    connection: sa.Connection, records: Sequence[FileRecord], now: dt.datetime, *, describes: bool
) -> tuple[dict[str, int], set[int]]:
    """Return the ids by image_hash, and the ids that are new."""
    wanted = {record.asset["image_hash"]: record.asset for record in records if record.asset}
    if not wanted:
        return {}, set()
    known_ids = _asset_ids(connection, wanted)
    fresh = [{**asset, "ingested_at": now} for hash_, asset in wanted.items() if hash_ not in known_ids]
    new_ids: set[int] = set()
    if fresh:
        new_ids = set(connection.execute(sa.insert(Asset).returning(Asset.id), fresh).scalars())
        known_ids = _asset_ids(connection, wanted)
    described = ("taken_at", "taken_offset_minutes", "camera", "latitude", "longitude", "embedded")
    updates = [
        {"key": known_ids[hash_], **{name: asset[name] for name in described}}
        for hash_, asset in wanted.items()
        if known_ids[hash_] not in new_ids
    ]
    if updates and describes:
        # The same picture with other metadata: what it says now is what is embedded.
        statement = sa.update(Asset).where(Asset.id == sa.bindparam("key"))
        connection.execute(statement.values({name: sa.bindparam(name) for name in described}), updates)
    return known_ids, new_ids


def _asset_ids(connection: sa.Connection, hashes: Iterable[str]) -> dict[str, int]:
    statement = sa.select(Asset.image_hash, Asset.id).where(Asset.image_hash.in_(list(hashes)))
    return dict(connection.execute(statement).all())


def _enqueue(
    connection: sa.Connection, asset_ids: list[int], now: dt.datetime, deltas: Tally[tuple[str, str, int]]
) -> None:
    if not asset_ids:
        return
    steps = connection.execute(sa.select(Step.name, Step.priority).where(Step.is_active)).all()
    rows = [
        {
            "asset_id": asset_id,
            "step": step,
            "state": "pending",
            "attempts": 0,
            "priority": priority,
            "created_at": now,
            "updated_at": now,
        }
        for asset_id in asset_ids
        for step, priority in steps
    ]
    if rows:
        connection.execute(sa.insert(Job), rows)
    for step, _ in steps:
        deltas[step, "pending", 0] += len(asset_ids)


def _file_row(record: FileRecord, digest: str, asset_id: int | None, now: dt.datetime) -> dict[str, Any]:
    return {
        "asset_id": asset_id,
        "root": escape_path(record.root),
        "path": escape_path(record.path),
        "path_digest": digest,
        "folder": escape_path(record.path.parent),
        "size_bytes": record.size_bytes,
        "modified_ns": clean_integer(record.modified_ns),
        "changed_ns": clean_integer(record.changed_ns),
        "inode": clean_integer(record.inode),
        "fingerprint": fingerprint(
            record.path.name, record.size_bytes, record.modified_ns, record.changed_ns
        ),
        "sha256": record.sha256,
        "sha1": record.sha1,
        "media_type": record.media_type,
        "state": record.state,
        "error_kind": record.error_kind,
        "error": record.error,
        "attempts": 1,
        "seen_at": now,
        "missing_at": None,
    }


def _upsert_files(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    statement = counters.insert(connection, File)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in ("path_digest", "attempts")}
    replaced["attempts"] = sa.case((statement.excluded.state == "failed", File.attempts + 1), else_=1)
    connection.execute(statement.on_conflict_do_update(index_elements=["path_digest"], set_=replaced), rows)
