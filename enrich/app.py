"""The composition root: here, and nowhere else, the parts meet."""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from enrich.errors import ConfigError, FileError, PluginMissing, UsageError
from enrich.host import BoundStep, Filters, Host, discovery
from enrich.recycling import Recycling
from enrich.settings import Root, Settings
from enrich.types import ModelHandle, Rendition

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.inference import Models, ModelStore
    from enrich.oneshot import Progress, Target

__all__ = [
    "App",
    "build",
    "load_loose",
    "load_plugins",
    "open_catalog",
    "open_models",
    "open_store",
    "read_rendition",
]

log = logging.getLogger(__name__)


def open_catalog(settings: Settings) -> sa.Engine:
    """Return an engine for the catalog, which is made if there is none.

    Raises
    ------
    CatalogMissing
        Its schema is of another version.
    """
    from enrich.catalog import schema
    from enrich.catalog.engine import create_engine

    engine = create_engine(settings.catalog)
    schema.ensure(engine)
    return engine


def load_plugins(settings: Settings, *, bundled_only: bool = False) -> Host:
    """Return a host with all plugins: the bundled ones, installed ones, and those of ``plugin_dirs``."""
    host = Host(trace=os.environ.get("ENRICH_TRACE", "") not in ("", "0"))
    host.load(discovery.installed(bundled_only=bundled_only))
    if not bundled_only:
        host.load(discovery.loose(settings.plugin_dirs, [root.path for root in settings.roots]))
    return host


def load_loose(host: Host, path: Path) -> str:
    """Load one plugin file into a host; return the plugin's name.

    Raises
    ------
    PluginMissing
        There is no such file, or it did not load.
    """
    if not path.is_file():
        raise PluginMissing(f"{path}: no such file")
    for plugin in host.plugins.values():
        if plugin.origin == str(path) or Path(plugin.origin) == Path(os.path.abspath(path)):
            return plugin.name  # plugin_dirs brought it
    host.load([discovery.loose_file(path)])
    for failure in host.failures:
        if failure.origin == str(path):
            raise PluginMissing(f"{path} did not load: {failure.error}")
    return path.stem


def read_rendition(settings: Settings, host: Host, path: Path, size_px: int) -> Rendition:
    """Return a picture's first page, outside any catalog.

    Raises
    ------
    UsageError
        There is no such file.
    FileError
        The file is no picture, or cannot be decoded.
    """
    from enrich.errors import NotAPicture
    from enrich.rendition import open_picture, probe

    if not os.path.lexists(path):
        raise UsageError(f"{path}: no such file")
    opener = host.open_original if host.implementing("enrich_open") else None
    try:
        found = probe(path, max_pixels=settings.max_pixels, opener=opener)
        if found.picture is None or found.media_type is None:
            raise NotAPicture(f"no picture: its content is {found.media_type or 'of an unknown type'}")
        with open_picture(path, found.media_type, max_pixels=settings.max_pixels, opener=opener) as picture:
            frame = picture.render(0, size_px)
    except FileError as error:
        raise type(error)(f"{path}: {error}") from error
    return Rendition(
        None,
        None,
        0,
        frame.pixels,
        frame.width_px,
        frame.height_px,
        frame.original_width_px,
        frame.original_height_px,
        found.picture.embedded,
    )


def open_store(settings: Settings) -> ModelStore:
    """Return the model store: the user's models and the bundled ones."""
    import enrich.drawings
    from enrich.hub import listed
    from enrich.inference import ModelStore

    bundled = Path(enrich.drawings.__file__).parent / "models"
    return ModelStore(settings.models_dir, bundled, resolve=listed.resolve, advice=listed.advice)


def open_models(settings: Settings, recycling: Recycling | None = None) -> Models:
    """Return the model store's models, ready to be loaded; ``recycling`` is asked if their memory stays."""
    from enrich.inference import Models

    return Models(
        open_store(settings),
        device=settings.device,
        providers=settings.providers,
        unload_after_seconds=settings.unload_after_seconds,
        recycle_above_mb=settings.recycle_above_mb,
        on_kept=(lambda: None) if recycling is None else recycling.ask,
    )


@dataclass(frozen=True, slots=True)
class App:
    """Everything that works on one catalog with one configuration."""

    settings: Settings
    engine: sa.Engine
    host: Host
    models: Models | None
    steps: tuple[BoundStep, ...]
    recycling: Recycling | None = None

    def run(
        self,
        paths: Sequence[Path],
        *,
        stop: threading.Event,
        tick: Callable[[Progress], None] = lambda progress: None,
    ) -> Progress:
        """Take in and describe ``paths``, or all roots, and return what was done."""
        from enrich.oneshot import Target

        targets = [Target(self._root_of(path), path) for path in map(_absolute, paths)]
        if not targets:
            targets = [Target(root, root.path) for root in self.settings.roots]
        if not targets:
            raise UsageError("nothing to do: name files or folders, or set roots in config.yaml")
        return self._pass("run", targets, stop, tick)

    def retry(
        self,
        step: str | None,
        *,
        stop: threading.Event,
        tick: Callable[[Progress], None] = lambda progress: None,
    ) -> Progress:
        """Try failed work again, from the first attempt: files (unless a step is named) and jobs."""
        from enrich.catalog import files, queue
        from enrich.catalog.engine import writing
        from enrich.oneshot import Target
        from enrich.pipeline import UNREADABLE

        if step is not None and step not in self.settings.steps:
            raise UsageError(f"no step {step}; the steps are: {', '.join(self.settings.steps)}")
        with writing(self.engine).begin() as connection:
            failed = [] if step else files.failed_paths(connection)
            queue.retry(connection, step, [] if step else [UNREADABLE], dt.datetime.now(dt.UTC))
        targets = [Target(Root(path=root), path, is_forced=True) for root, path in failed]
        return self._pass("retry", targets, stop, tick)

    def comes_back(self) -> bool:
        """Tell whether the daemon starts anew after its end."""
        return self.recycling is not None and self.recycling.is_due()

    def close(self) -> None:
        """Let go of models and connections."""
        if self.models is not None:
            self.models.close()
        self.engine.dispose()

    def watch(
        self,
        *,
        stop: threading.Event,
        on_ready: Callable[[], None] = lambda: None,
        on_stuck: Callable[[], None] = lambda: None,
    ) -> None:
        """Look after the roots until ``stop`` is set, then drain.

        ``on_ready`` is called once the roots are watched, ``on_stuck`` if not all ended in time: then
        threads still run, and leaving the process is the only way to end them.
        """
        from enrich.watch import watch

        if not self.settings.roots:
            raise UsageError("nothing to watch: set roots in config.yaml")
        watch(
            self.settings,
            self.engine,
            self.host,
            self.steps,
            stop=stop,
            on_ready=on_ready,
            on_stuck=on_stuck,
            comes_back=self.comes_back,
            numbers=(lambda: {}) if self.models is None else self.models.numbers,
        )

    def _pass(
        self,
        kind: Literal["run", "retry"],
        targets: Sequence[Target],
        stop: threading.Event,
        tick: Callable[[Progress], None],
    ) -> Progress:
        from enrich.assembly import Listeners, assemble
        from enrich.doubts import Doubts
        from enrich.oneshot import Oneshot, Progress
        from enrich.sweep import Catalogued

        progress, catalogued = Progress(), Catalogued(self.engine)
        doubts = Doubts(catalogued)
        listeners = Listeners(progress.files.update, progress.recorded, doubts.add)
        with assemble(
            self.settings, self.engine, self.host, self.steps, kind=kind, listeners=listeners
        ) as parts:
            own = self.engine.url.database or ""
            Oneshot(parts, catalogued, doubts, progress, own=own).run(targets, stop=stop, tick=tick)
        return progress

    def _root_of(self, path: Path) -> Root:
        """Return the configured root that a path lies in, else the path as a root of its own."""
        for root in self.settings.roots:
            if path.is_relative_to(root.path):
                return root
        return Root(path=path if os.path.isdir(path) else path.parent)  # is_dir() may raise


def build(
    settings: Settings,
    *,
    bundled_only: bool = False,
    recycling: Recycling | None = None,
    needs_steps: bool = True,
) -> App:
    """Put everything together that works on the catalog; a daemon can be recycled.

    Parameters
    ----------
    settings : Settings
        What is configured.
    bundled_only : bool
        No plugin of anybody else is loaded.
    recycling : Recycling or None
        Asked if the memory of models stays.
    needs_steps : bool
        Files are to be described, which takes a step.

    Raises
    ------
    ConfigError
        A step is wrong.
    MissingError
        A plugin, model, package or the catalog is not there.
    """
    if needs_steps and not settings.steps:
        raise ConfigError(
            "steps: none is configured; `enrich init` writes a config.yaml with some, "
            "and `enrich serve --no-watch` needs none"
        )
    host = load_plugins(settings, bundled_only=bundled_only)
    models: Models | None = None

    def open_model(name: str) -> ModelHandle:
        # Steps without models need no runtime, and do not wait for its import.
        nonlocal models
        models = models or open_models(settings, recycling)
        return models.open(name)

    host.filters = Filters.bind(host, settings.filters, open_model)
    steps: list[BoundStep] = []
    for name, step in settings.steps.items():
        steps.append(host.bind(name, step, open_model, steps))
    return App(settings, open_catalog(settings), host, models, tuple(steps), recycling)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))
