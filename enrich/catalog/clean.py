"""The one place that makes values fit for SQL.

PostgreSQL refuses NUL in text and NaN in JSON, SQLite refuses lone surrogates, and both refuse
undecodable paths and integers of more than 63 bits. Models and files hand out all of these.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["clean_integer", "clean_json", "clean_text", "escape_path", "path_digest", "unescape_path"]

_UNFIT = re.compile("[\x00\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|\\)")


def clean_text(text: str) -> str:
    """Return ``text`` with each NUL and lone surrogate replaced by U+FFFD."""
    return _UNFIT.sub("\ufffd", text) if _UNFIT.search(text) else text


def clean_integer(value: int) -> int:
    """Return ``value`` wrapped into SQL's signed 64 bits: unsigned inodes, and times after 2262 in ns."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def clean_json(value: Any) -> Any:
    """Return ``value`` as plain JSON can hold it.

    NaN and the infinities become None, numpy's numbers and arrays plain ones, bytes their hex,
    mapping keys strings, and whatever else its text.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (Sequence, set, frozenset)):
        return [clean_json(item) for item in value]
    if hasattr(value, "tolist"):  # numpy, without importing it here
        return clean_json(value.tolist())
    return clean_text(str(value))


def escape_path(path: str | Path) -> str:
    r"""Return a path as text: undecodable bytes as ``\xNN``, a backslash doubled."""
    text = str(path)
    if text.isascii() and "\\" not in text:
        return text
    text = text.replace("\\", "\\\\")
    return "".join(f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in text)


def unescape_path(text: str) -> Path:
    """Return the path that ``escape_path`` made ``text`` of."""
    return Path(
        _ESCAPED.sub(lambda match: "\\" if match[1] == "\\" else chr(0xDC00 + int(match[1][1:], 16)), text)
    )


def path_digest(path: str | Path) -> str:
    """Return the SHA-256 of the path's bytes, in hex: unique at any length of path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()
