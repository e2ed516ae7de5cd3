"""Where plugins come from: installed distributions and loose files.

Nothing is imported here before its candidate's ``load`` is called, so that a plugin which cannot
be imported is one failure with a name, and not the end of the start.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich.errors import ConfigError

__all__ = ["DISTRIBUTION", "GROUP", "Candidate", "installed", "loose", "loose_file"]

#: The entry-point group that plugins are installed through.
GROUP = "enrich"

#: Our own distribution: its entry points are the bundled plugins.
DISTRIBUTION = "enrich-dam"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that may be loaded.

    ``origin`` says where it comes from in words that mend something: the distribution's
    ``module`` or the loose file's path.
    """

    name: str
    origin: str
    distribution: str | None
    version: str | None
    load: Callable[[], Any]

    @property
    def is_bundled(self) -> bool:
        return self.distribution == DISTRIBUTION


def installed(*, bundled_only: bool = False) -> Iterator[Candidate]:
    """Yield the plugins of the entry-point group, the bundled ones first, then by name."""
    points = importlib.metadata.entry_points(group=GROUP)
    # Each look at a distribution's metadata reads all of it anew.
    said = {dist: (dist.name, dist.version) for dist in {point.dist for point in points} if dist is not None}
    found = []
    for point in points:
        name, version = said[point.dist] if point.dist else (None, None)
        found.append(Candidate(point.name, point.value, name, version, point.load))
    for candidate in sorted(found, key=lambda item: (not item.is_bundled, item.name)):
        if candidate.is_bundled or not bundled_only:
            yield candidate


def loose(folders: Iterable[Path], roots: Iterable[Path] = ()) -> Iterator[Candidate]:
    """Yield the ``.py`` files of ``folders``, by name; a leading underscore hides a file.

    Raises
    ------
    ConfigError
        A folder is missing, lies inside a root (whoever may drop a picture could drop code), or
        may be written by others. Not retryable.
    """
    inside = [root.resolve() for root in roots]
    for folder in folders:
        _check(folder, inside)
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("_"):
                _check_owner(path)
                yield loose_file(path)


def loose_file(path: Path) -> Candidate:
    """Return one ``.py`` file as a plugin that may be loaded."""
    return Candidate(path.stem, str(path), None, None, functools.partial(_load_file, path))


def _check(folder: Path, roots: list[Path]) -> None:
    if not folder.is_dir():
        raise ConfigError(f"plugin_dirs: {folder} is not a folder; create it or remove it from config.yaml")
    resolved = folder.resolve()
    for root in roots:
        if resolved.is_relative_to(root):
            raise ConfigError(
                f"plugin_dirs: {folder} lies inside the root {root}; keep code apart from pictures"
            )
    _check_owner(folder)


def _check_owner(path: Path) -> None:
    mode = path.stat().st_mode
    # A sticky folder (/tmp) lets everybody add files, so it is refused as well.
    if mode & stat.S_IWOTH:
        raise ConfigError(f"plugin_dirs: others may write {path}; say: chmod o-w '{path}'")


def _load_file(path: Path) -> Any:
    name = f"enrich_loose_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
