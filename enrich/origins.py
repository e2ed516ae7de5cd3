"""Who said a value: a line of config.yaml, a variable of the environment, or the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pydantic

    from enrich.configfile import Lines

__all__ = ["PREFIX", "Origins"]

#: What the variables begin with.
PREFIX = "ENRICH_"


class Origins:
    """Where settings came from, so that complaints can say it.

    Parameters
    ----------
    lines : Lines
        Where the keys of the file stand.
    environment, given : mapping
        What the environment and the command line say, nested like the settings.
    """

    def __init__(self, lines: Lines, environment: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        self._lines = lines
        self._environment = environment
        self._given = given

    def of(self, location: Sequence[Any]) -> str:
        """Return who said the value of a location, and its key: whoever says most of the way to it."""
        key = ".".join(str(part) for part in location)
        depth, origin = self._lines.find(location)
        said = f"{origin}{key}: "
        by_environment = _depth(self._environment, location)
        if by_environment >= max(depth, 1):
            depth, said = by_environment, f"environment: {_variable(location)}: "
        if _depth(self._given, location) >= max(depth, 1):
            said = f"command line: {key}: "
        return said

    def explain(self, error: pydantic.ValidationError) -> str:
        """Return on one line what was wrong first, who said it, and how much else is wrong."""
        first = error.errors(include_url=False)[0]
        message = {
            "extra_forbidden": "unknown key; the keys are in `enrich init`'s config.yaml",
            "missing": "this key is required",
        }.get(first["type"], first["msg"])
        location = [part for part in first["loc"] if part != "[key]"]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        return f"{self.of(location)}{message}{more}"


def _depth(values: Any, location: Sequence[Any]) -> int:
    """Return how many parts of a location lead somewhere in ``values``."""
    for depth, part in enumerate(location):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(location)


def _variable(location: Sequence[Any]) -> str:
    """Return the variable that set a location, or the section it is in."""
    present = {name.upper() for name in os.environ}
    names = [
        PREFIX + "__".join(str(part) for part in location[:end]).upper()
        for end in range(len(location), 0, -1)
    ]
    # A section may be put together from variables beside the one that is missing.
    return next((name for name in names if name in present), names[0])
