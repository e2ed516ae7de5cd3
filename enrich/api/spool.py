"""Bytes from outside on their way to the disk: counted, and under names of our own."""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from enrich.api.errors import InvalidImage, TooLarge

__all__ = ["BoundedFile", "decode_base64", "decode_data_uri", "link_or_copy", "new_file"]

# A whole number of base64's groups of four.
_CHARACTERS_AT_ONCE = 4 * 65_536
_BLANKS = re.compile(r"[ \t\r\n]+")
_DATA_URI = re.compile(r"data:(?P<type>[^,;]*)(?P<parameters>(?:;[^,;]*)*),", re.IGNORECASE)


class BoundedFile:
    """A file that takes so many bytes and no more.

    Parameters
    ----------
    file : BinaryIO
        Where they go.
    max_bytes : int
        How many.
    """

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """Write all of ``data``.

        Raises
        ------
        TooLarge
            It would be more than the limit. Not retryable.
        """
        self.size_bytes += len(data)
        if self.size_bytes > self._max_bytes:
            raise TooLarge(f"the picture has more than the {self._max_bytes} bytes that are taken")
        return self._file.write(data)


def new_file(folder: Path) -> Path:
    """Make an empty file that nobody else reads, under a random name, and return its path."""
    path = folder / uuid.uuid4().hex
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    return path


def link_or_copy(path: Path, target: Path) -> None:
    """Give a file another name, or make a copy where the file system knows no second names."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def decode_base64(text: str) -> Iterator[bytes]:
    """Yield the bytes that base64 stands for, of either alphabet, with blanks or without padding.

    Raises
    ------
    InvalidImage
        It is no base64. Not retryable.
    """
    left = ""
    for start in range(0, len(text), _CHARACTERS_AT_ONCE):
        part = left + _BLANKS.sub("", text[start : start + _CHARACTERS_AT_ONCE])
        whole = len(part) // 4 * 4
        part, left = part[:whole], part[whole:]
        if part:
            yield _decoded(part)
    if left:
        yield _decoded(left + "=" * (-len(left) % 4))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters beyond ASCII
        raise InvalidImage("the picture is neither a URL, a data URI, a UUID nor base64") from error


def decode_data_uri(uri: str) -> Iterable[bytes]:
    """Return the bytes of a data URI, in pieces; what it says of their type is not believed.

    Raises
    ------
    InvalidImage
        It is none, or its base64 is wrong. Not retryable.
    """
    match = _DATA_URI.match(uri[:1000])
    if match is None:
        raise InvalidImage("the data URI is not of the form data:image/png;base64,...")
    content = uri[match.end() :]
    if "base64" in match["parameters"].lower().split(";"):
        # Percent signs come from clients that escape padding and plus signs.
        return decode_base64(unquote_to_bytes(content).decode("latin-1") if "%" in content else content)
    return [unquote_to_bytes(content)]
