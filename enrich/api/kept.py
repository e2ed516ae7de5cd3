"""What is kept of requests: pictures as assets under the uploads folder, answers as the step ``api``.

The same picture asked the same again by the same key is answered out of the catalog. What other keys
asked is not looked at: how soon an answer comes would say that somebody asked before.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import os
import shutil
import socket
import threading
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from enrich import __version__
from enrich.api import kinds
from enrich.api.asking import Asked, joined
from enrich.api.errors import Internal, TooLarge
from enrich.api.requests import Ask, Caller, Picture, Reply
from enrich.catalog import files, kept, steps, uploads
from enrich.catalog.files import FileRecord
from enrich.catalog.kept import MadeBy, Said
from enrich.catalog.record import AnnotationRow
from enrich.errors import EnrichError
from enrich.reading import Reader, look
from enrich.results import Draft
from enrich.scan import Candidate
from enrich.types import Tag

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.catalog.writer import Writer
    from enrich.host import BoundStep
    from enrich.rendition import Opener
    from enrich.settings import Settings

__all__ = ["Kept", "items_of"]

log = logging.getLogger(__name__)

_FOLDER = "kept"
_SUFFIXES = {"image/jpeg": ".jpg", "image/tiff": ".tif"}
_ITEM_DIGITS = 32


class Kept:
    """Keeps pictures and answers, from any thread.

    Parameters
    ----------
    settings : Settings
        Where the uploads folder is, and how much one key may have there.
    engine : sqlalchemy.Engine
        The catalog, to look up.
    writer : Writer
        The catalog's writer.
    opener : Opener or None
        Plugins' decoders.
    """

    def __init__(
        self, settings: Settings, engine: sa.Engine, writer: Writer, *, opener: Opener | None = None
    ) -> None:
        self._dir = settings.api.uploads_dir
        self._quota_bytes = settings.api.upload_quota_bytes
        self._engine = engine
        self._writer = writer
        self._reader = Reader(max_pixels=settings.max_pixels, opener=opener)
        self._lock = threading.Lock()
        self._run_id: int | None = None

    @property
    def root(self) -> Path:
        """The folder of what is kept; its files are assets, as those of any root."""
        return self._dir / _FOLDER

    def find(self, ask: Ask, bound: BoundStep) -> Reply | None:
        """Return the reply that is kept of this question and all its pictures, or None."""
        item = _item(ask, bound)
        with self._engine.connect() as connection:
            found = [kept.find(connection, picture.image_hash, item) for picture in ask.pictures]
        said = [one for one in found if one is not None]
        return _reply(ask, bound, said) if len(said) == len(found) else None

    def keep(self, ask: Ask, bound: BoundStep, asked: Asked, elapsed_ms: float) -> None:
        """Keep pictures and answers; where that fails, the answer is given all the same."""
        item, now = _item(ask, bound), dt.datetime.now(dt.UTC)
        by_hash = {
            picture.image_hash: (picture, drafts[0])
            for picture, drafts in zip(ask.pictures, asked.drafts, strict=True)
        }
        made_by = _made_by(bound)
        provider = getattr(bound.model, "provider", None)
        try:
            for picture, draft in by_hash.values():
                asset_id = self.take(picture, ask.caller)
                row = _row(draft, item, provider, elapsed_ms / len(by_hash), ask.prompt)
                run_id = self._run()
                self._writer.write(
                    lambda connection, a=asset_id, r=row, i=run_id: kept.annotate(  # type: ignore[misc]  # bound now
                        connection, a, r, made_by, run_id=i, now=now
                    )
                )
        except EnrichError as error:
            log.warning("a reply to %s was not kept: %s", ask.caller.name, error)

    def take(self, picture: Picture, caller: Caller) -> int:
        """Make a picture an asset that this caller has sent; return the asset's id.

        Raises
        ------
        TooLarge
            It would be more than one key may have here. Not retryable.
        CatalogError
            The catalog refused it; CatalogBusy, retryable, where it only does not answer.
        """
        with self._engine.connect() as connection:
            asset_id = kept.asset_of(connection, picture.image_hash)
            if asset_id is not None and uploads.has_sent(connection, caller.key_id, asset_id):
                return asset_id
        path = self._copy(picture)
        try:
            record = self._read(path)
            return self._writer.write(lambda connection: self._record(connection, picture, caller, record))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Record that nothing more is kept."""
        with self._lock:
            run_id, self._run_id = self._run_id, None
        if run_id is not None:
            self._writer.write(lambda connection: steps.end_run(connection, run_id, dt.datetime.now(dt.UTC)))

    def _record(self, connection: sa.Connection, picture: Picture, caller: Caller, record: FileRecord) -> int:
        if uploads.total_bytes(connection, caller.key_id) + picture.size_bytes > self._quota_bytes:
            raise TooLarge(f"more than the {self._quota_bytes} bytes that a key may have here are not kept")
        now = dt.datetime.now(dt.UTC)
        # Whoever sends a picture that is here already may not change what the catalog says of it.
        (ingested,) = files.ingest(connection, [record], now, describes=False)
        assert ingested.asset_id is not None  # it is a picture: it was looked at before
        uploads.add(
            connection,
            uuid=str(uuid.uuid4()),
            key_id=caller.key_id,
            path=str(record.path.relative_to(self._dir)),
            file_name=picture.file_name,
            media_type=picture.media_type,
            size_bytes=picture.size_bytes,
            sha256=picture.sha256,
            sha1=picture.sha1,
            asset_id=ingested.asset_id,
            created_at=now,
        )
        return ingested.asset_id

    def _copy(self, picture: Picture) -> Path:
        name = uuid.uuid4().hex
        suffix = _SUFFIXES.get(picture.media_type, "." + picture.media_type.removeprefix("image/"))
        # Some thousands in a folder, and not all in one.
        path = self.root / name[:2] / (name + suffix)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not a second name of the same file: its change time moves when the first one is removed, and a
        # file that is not as it was catalogued is not described.
        shutil.copyfile(picture.path, path)
        return path

    def _read(self, path: Path) -> FileRecord:
        record = self._reader.read(look(Candidate(self.root, path, None)))
        if not isinstance(record, FileRecord) or record.asset is None:
            raise Internal("the picture was changed while it was stored")
        return record

    def _run(self) -> int:
        with self._lock:
            if self._run_id is None:
                self._run_id = self._writer.write(
                    lambda connection: steps.start_run(
                        connection,
                        "api",
                        version=__version__,
                        host=f"{socket.gethostname()}:{os.getpid()}",
                        now=dt.datetime.now(dt.UTC),
                    )
                )
            return self._run_id


def items_of(caller: Caller) -> str:
    """Return what the items begin with of all that is kept for a caller."""
    return f"{caller.key_id or 0}-"


def _item(ask: Ask, bound: BoundStep) -> str:
    """Return whose it is, and a digest of all that makes this reply what it is, but for the picture."""
    made = bound.generator
    key = [
        ask.kind,
        [made.hook, made.plugin, made.plugin_revision, made.model, made.model_revision, made.options],
        asdict(ask.decoding),
    ]
    text = json.dumps(key, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return items_of(ask.caller) + hashlib.sha256(text.encode()).hexdigest()[:_ITEM_DIGITS]


def _made_by(bound: BoundStep) -> MadeBy:
    made = bound.generator
    return MadeBy(
        made.hook,
        made.plugin,
        made.plugin_revision,
        made.model,
        made.model_revision,
        made.options,
        made.options_digest,
    )


def _row(
    draft: Draft, item: str, provider: str | None, elapsed_ms: float, prompt: str | None
) -> AnnotationRow:
    return AnnotationRow(
        {
            "item": item,
            "page": 0,
            "kind": draft.kind,
            "text": draft.text,
            "data": draft.data,
            "confidence": draft.confidence,
            "language": draft.language,
            "question": draft.question or prompt,
            "is_empty": draft.is_empty,
            "provider": provider,
            "elapsed_ms": elapsed_ms,
        },
        tuple((tag.name, tag.confidence) for tag in draft.tags),
    )


def _reply(ask: Ask, bound: BoundStep, said: Sequence[Said]) -> Reply:
    drafts = [_draft(one) for one in said]
    texts = [one.text or "" for one in drafts]
    return Reply(
        joined(texts) if ask.kind in kinds.WORDS else None,
        kinds.data_of(ask.kind, drafts[0]),
        getattr(bound.options, "lang", None),
        kinds.model_of(bound.generator.model),
        is_cached=True,
    )


def _draft(said: Said) -> Draft:
    tags: tuple[Tag, ...] = ()
    if said.kind == "tags":
        tags = tuple(Tag(one["name"], one["confidence"]) for one in said.data or ())
    return Draft(
        said.kind,
        text=said.text,
        data=said.data,
        confidence=said.confidence,
        language=said.language,
        tags=tags,
    )
