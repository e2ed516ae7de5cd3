"""What an ONNX file says of weights that lie beside it, read without loading any.

ONNX Runtime 1.31 refuses places outside the graph's folder; older ones that this project runs with read
whatever file a graph names. Source of the field numbers: ``onnx.proto`` of ONNX 1.16.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from enrich.errors import ManifestError

__all__ = ["external_files", "external_locations"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ENTRY = "entry"

#: By the kind of message: the fields that may hold a tensor further down, and what kind they are.
_INTO: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": {13: _ENTRY},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
}


class _Damaged(Exception):
    pass


def external_files(graph: Path) -> tuple[Path, ...]:
    """Return the files beside an ONNX file that hold weights of it, in the order of their names.

    Raises
    ------
    ManifestError
        The file is damaged, or it names one that is missing or outside its own folder, be it by "..", an
        absolute path or a link. Not retryable.
    """
    folder = graph.parent.resolve()
    found = set()
    for location in sorted(external_locations(graph)):
        path = (folder / location).resolve()
        if not path.is_relative_to(folder):
            raise ManifestError(
                f"{graph}: its weights lie in {location}, which leads out of its folder; that is refused"
            )
        if not path.is_file():
            raise ManifestError(f"{graph}: its weights lie in {location}, and that file is not there")
        found.add(path)
    return tuple(sorted(found))


def external_locations(graph: Path) -> set[str]:
    """Return where an ONNX file says that weights of it lie, as it says it.

    Raises
    ------
    ManifestError
        The file is damaged. Not retryable.
    """
    try:
        with graph.open("rb") as file:
            if not graph.stat().st_size:
                return set()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return set(_walk(data))
    except OSError as error:
        raise ManifestError(f"{graph}: cannot be read: {error.strerror}") from error
    # What is passed over here could still be read there.
    except (_Damaged, UnicodeDecodeError) as error:
        raise ManifestError(
            f"{graph}: ONNX Runtime cannot load it: it is damaged, or no ONNX file at all"
        ) from error


def _walk(data: mmap.mmap) -> Iterator[str]:
    waiting = [("model", 0, len(data))]
    while waiting:
        kind, start, end = waiting.pop()
        into = _INTO[kind]
        for number, low, high in _fields(data, start, end):
            inner = into.get(number)
            if inner == _ENTRY:
                yield from _location(data, low, high)
            elif inner is not None:
                waiting.append((inner, low, high))


def _location(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    """Yield the values of a key-value pair whose key is ``location``."""
    parts = [(number, data[low:high]) for number, low, high in _fields(data, start, end)]
    if (1, b"location") in parts:
        yield from (value.decode() for number, value in parts if number == 2)


def _fields(data: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field of a message that has a length."""
    while place < end:
        tag, place = _varint(data, place, end)
        wire = tag & 7
        if wire == _VARINT:
            _, place = _varint(data, place, end)
        elif wire == _FIXED64:
            place += 8
        elif wire == _FIXED32:
            place += 4
        elif wire == _BYTES:
            length, place = _varint(data, place, end)
            if place + length > end:
                raise _Damaged
            yield tag >> 3, place, place + length
            place += length
        else:  # groups: nothing that writes ONNX makes them
            raise _Damaged
    if place != end:
        raise _Damaged


def _varint(data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise _Damaged
