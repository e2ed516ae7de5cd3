"""The service under test: real plugins, a real catalog, and models that say what they are told to."""

import contextlib
import dataclasses
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import sqlalchemy as sa

from enrich import app
from enrich.api.kept import Kept
from enrich.api.pictures import Pictures
from enrich.api.requests import Caller
from enrich.api.service import Service
from enrich.api.uploads import Uploads
from enrich.catalog.writer import Writer
from enrich.errors import InferenceError, ModelMissing, UsageError
from enrich.host import Filters, Host
from enrich.hub import listed
from enrich.inference import LabelScores
from enrich.settings import Settings, load
from enrich.types import Decoding, Generated, Rendition

ALICE = Caller(1, "alice")
BOB = Caller(2, "bob")
LANGUAGES = ("en", "zh", "fr", "de", "es", "ja", "ko")


class Speaker:
    """A model that writes what ``say`` returns for a prompt, word by word, and notes what it was asked."""

    family = "encoder-decoder"
    size_px: int | None = None
    hooks: tuple[str, ...] = ("enrich_caption", "enrich_answer")
    languages: tuple[str, ...] = LANGUAGES
    labels: tuple[str, ...] = ()
    revision = "1"
    provider = "CPUExecutionProvider"

    def __init__(self, name: str, say: Callable[[str], str] = lambda prompt: "a red square") -> None:
        self.name = name
        self.say = say
        self.asked: list[tuple[str, Decoding]] = []
        self.refuses: str | None = None
        #: Called between two words.
        self.between: Callable[[], None] = lambda: None

    def refusals(self, renditions: Sequence[Rendition]) -> list[str | None]:
        return [self.refuses] * len(renditions)

    def caption_prompt(self, length: str | None, language: str | None) -> str:
        return f"caption {length} {language}"

    def answer_prompt(self, question: str, language: str | None) -> str:
        if "enrich_answer" not in self.hooks:
            raise UsageError("it answers nothing")
        return f"{question} [{language}]"

    def generate(
        self,
        renditions: Sequence[Rendition],
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        deadline: float | None = None,
        interactive: bool = False,
        on_text: Callable[[int, str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Generated]:
        assert interactive
        written = []
        for index, prompt in enumerate(prompts):
            self.asked.append((prompt, decoding))
            words = self.say(prompt).split(" ")
            finish: Any = "stop"
            if decoding.max_tokens is not None and len(words) > decoding.max_tokens:
                words, finish = words[: decoding.max_tokens], "length"
            for number, word in enumerate(words):
                self.between()
                if cancel is not None and cancel.is_set():
                    raise InferenceError("nobody waits any more")
                if on_text is not None:
                    on_text(index, (" " if number else "") + word)
            written.append(Generated(" ".join(words), finish, 3, len(words), 0.5))
        return written

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> list[LabelScores]:
        known = tuple(labels) or self.labels
        if not known:
            raise UsageError("it has no labels")
        row = np.asarray([2.0**-number for number in range(1, len(known) + 1)], np.float32)
        return [LabelScores(known, row) for _ in renditions]


class Broken(Speaker):
    """A model whose every run fails."""

    def generate(self, *args: Any, **options: Any) -> list[Generated]:
        raise InferenceError("secret-model: /srv/models/secret: a run failed")


class Shelf:
    """The models of a test, as store and as loaded models."""

    def __init__(self, *models: Speaker) -> None:
        self._models = {model.name: model for model in models}

    def resolve(self, name: str) -> str:
        return listed.resolve(name)

    def get(self, name: str) -> Any:
        if name not in self._models:
            raise ModelMissing(f"no model {name} in /srv/models")
        return self._models[name]

    open = get

    def list(self) -> tuple[Any, ...]:
        return tuple(
            SimpleNamespace(
                name=model.name,
                folder=Path(model.name),
                model=SimpleNamespace(
                    hooks=model.hooks,
                    languages=model.languages,
                    manifest=SimpleNamespace(description=None),
                ),
            )
            for model in self._models.values()
        )


@dataclasses.dataclass(frozen=True)
class Place:
    """Everything of one test below one folder."""

    settings: Settings
    engine: sa.Engine
    writer: Writer
    host: Host
    uploads: Uploads
    pictures: Pictures
    kept: Kept

    def service(self, *models: Speaker) -> Service:
        shelf: Any = Shelf(*models)
        self.host.filters = Filters.bind(self.host, self.settings.filters, shelf.open)
        return Service(self.settings, self.host, shelf, shelf, self.pictures, self.kept)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(sql)).mappings()]


def no_fetch(url: str, into: BinaryIO, *, max_bytes: int | None) -> Any:
    raise AssertionError("nothing is fetched here")


@contextlib.contextmanager
def place(folder: Path, fetch: Any = no_fetch, filters: Any = None, **api: Any) -> Iterator[Place]:
    """Set up a catalog, the bundled plugins and an uploads folder; nothing of it outlives the test."""
    overrides: dict[str, Any] = {"api.default_model": "speaker", **{f"api.{key}": api[key] for key in api}}
    if filters is not None:
        overrides["filters"] = filters
    settings = load(folder=folder, overrides=overrides)
    engine = app.open_catalog(settings)
    writer = Writer(engine)
    uploads = Uploads(settings.api, engine, writer)
    pictures = Pictures(settings, uploads, fetch)
    kept = Kept(settings, engine, writer)
    host = app.load_plugins(settings, bundled_only=True)
    try:
        with writer._engine.begin() as connection:
            for caller in (ALICE, BOB):
                connection.execute(_KEY, {"id": caller.key_id, "name": caller.name})
        yield Place(settings, engine, writer, host, uploads, pictures, kept)
    finally:
        kept.close()
        writer.close()
        engine.dispose()


_KEY = sa.text(
    "INSERT INTO api_keys (id, name, prefix, secret_sha256, scopes, created_at) "
    "VALUES (:id, :name, :name, :name, '[\"infer\"]', '2026-01-02T03:04:05+00:00')"
)


def png(colour: tuple[int, int, int] = (200, 10, 10), size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def set_later(event: threading.Event) -> Callable[[], None]:
    """Return what sets an event when it is called: a client that goes away."""
    return event.set
