"""An answer's body into a file, however it is packed, and never more than it may be."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import TYPE_CHECKING, BinaryIO

from enrich.errors import FetchFailed, FetchTooLarge

if TYPE_CHECKING:
    from enrich.outbound.targets import Target

__all__ = ["receive"]

#: What is read, and unpacked, at a time.
PIECE_BYTES = 65_536

# zlib's manual, inflateInit2: 32 more than the window finds out by itself whether it is gzip or zlib.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def receive(target: Target, response: HTTPResponse, into: BinaryIO, max_bytes: int) -> int:
    """Write a body to ``into``, unpacked; return its size in bytes.

    What the answer says of its length is believed only where that ends the matter sooner.

    Raises
    ------
    FetchTooLarge
        It has more than ``max_bytes``, on the way or unpacked. Not retryable.
    FetchFailed
        It ended early, or is packed in a way that was not asked for and is not known. Retryable.
    """
    if response.length is not None and response.length > max_bytes:
        raise FetchTooLarge(f"{target} sends {response.length:,} bytes; at most {max_bytes:,} are taken")
    pieces = _pieces(target, response, max_bytes)
    packing = (response.headers.get("Content-Encoding") or "identity").strip().lower()
    if packing in ("gzip", "x-gzip", "deflate"):
        pieces = _unpacked(target, pieces)
    elif packing != "identity":
        raise FetchFailed(f"{target} sends what it was asked not to pack, and packs it in an unknown way")
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise FetchTooLarge(f"{target} sends more than {max_bytes:,} bytes")
        into.write(piece)
    return size


def _pieces(target: Target, response: HTTPResponse, max_bytes: int) -> Iterator[bytes]:
    size = 0
    while piece := response.read(PIECE_BYTES):
        size += len(piece)
        if size > max_bytes:
            raise FetchTooLarge(f"{target} sends more than {max_bytes:,} bytes")
        yield piece
    if response.length:  # what is missing of what was announced; http.client says nothing about it
        raise FetchFailed(f"{target} hung up before the end", retryable=True)


def _unpacked(target: Target, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what is packed inside, in pieces of bounded size: a bomb is noticed while it is small."""
    inflate = None
    for piece in pieces:
        if inflate is None:
            inflate = zlib.decompressobj(_window(piece))
        yield from _inflated(target, inflate, piece)
    if inflate is None or not inflate.eof:
        raise FetchFailed(f"{target} hung up before the end", retryable=True)


def _inflated(target: Target, inflate: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    left, made = piece, PIECE_BYTES
    # Some of what is made may wait inside zlib when all input is used up.
    while (left or made == PIECE_BYTES) and not (inflate.eof and not left):
        try:
            out = inflate.decompress(left, PIECE_BYTES)
        except zlib.error as error:
            raise FetchFailed(f"{target} sends something that cannot be unpacked") from error
        if inflate.unused_data:
            raise FetchFailed(f"{target} sends something that cannot be unpacked")
        left, made = inflate.unconsumed_tail, len(out)
        yield out


def _window(first: bytes) -> int:
    """Return zlib's parameter for a stream that begins so: some servers send `deflate` without its header."""
    is_gzip = first[:2] == b"\x1f\x8b"[: len(first)]
    is_zlib = first[0] & 0x0F == 8 and (len(first) < 2 or int.from_bytes(first[:2], "big") % 31 == 0)
    return _GZIP_OR_ZLIB if is_gzip or is_zlib else -zlib.MAX_WBITS
