"""A YAML file as values, and the line in which each key stands.

Whatever is wrong with the file is one ConfigError that names the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from enrich.errors import ConfigError

__all__ = ["Lines", "parse", "read"]


class Lines:
    """Where each key of a YAML file stands."""

    def __init__(self, node: yaml.Node | None, name: str) -> None:
        self._name = name
        self._lines: dict[tuple[str, ...], int] = {}
        for place, line in () if node is None else _marks(node, ()):
            if place in self._lines:
                raise ConfigError(
                    f"{name}, line {line}: {'.'.join(place)}: the same key is in line {self._lines[place]}"
                )
            self._lines[place] = line

    def find(self, location: Sequence[Any]) -> tuple[int, str]:
        """Return how much of a location the file has, and in what line, in words."""
        place = tuple(str(part) for part in location)
        for depth in range(len(place), 0, -1):
            line = self._lines.get(place[:depth])
            if line is not None:
                return depth, f"{self._name}, line {line}: "
        return 0, ""


def _marks(node: yaml.Node, location: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*location, str(key.value))
            yield place, key.start_mark.line + 1
            yield from _marks(value, place)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            place = (*location, str(index))
            yield place, value.start_mark.line + 1
            yield from _marks(value, place)


def read(path: Path) -> tuple[dict[str, Any], Lines]:
    """Return a file's values, and where their keys stand.

    Raises
    ------
    ConfigError
        The file is missing, or is none. Not retryable.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `enrich init` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> tuple[dict[str, Any], Lines]:
    """Return a text's values, and where their keys stand; ``name`` is what messages call it.

    Raises
    ------
    ConfigError
        The text is not YAML, has a key twice, or holds no keys. Not retryable.
    """
    try:
        values = yaml.safe_load(text)
        lines = Lines(yaml.compose(text, Loader=yaml.SafeLoader), name)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}, line {line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:  # an alias inside its own anchor
        raise ConfigError(f"{name}: nested without end; remove the aliases (*name)") from error
    if values is None:  # an empty file, or only comments
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{name}, line 1: the file must hold keys and values, like `catalog: sqlite:///catalog.db`"
        )
    return {str(key): value for key, value in values.items()}, lines
