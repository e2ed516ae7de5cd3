"""A file's bytes over HTTP: gone on with where they end, and neither more of them nor longer than is right.

The hub's client has a function for this. It sleeps for as long as a server says, and takes all that one
sends; what it knows of proxies, certificates, tokens and refusals is made use of here.
"""

from __future__ import annotations

import os
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from enrich.errors import FetchFailed

__all__ = ["OnBytes", "download", "wished_seconds"]

#: Told of bytes as they come, or of those that were here already; less than 0: of those that were of no use.
OnBytes = Callable[[int], None]

#: How long is waited before the next try, each time that nothing new came.
WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 8.0)
#: A server that wishes for more is told of instead.
WISH_SECONDS_MAX = 30

# Source: RFC 9110, 15.5.9, 15.5.17, 15.6; RFC 6585, 4.
_PARTIAL, _BEYOND = 206, 416
_PASSING = (408, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (\d+)-")


def download(
    hub: Any, url: str, target: Path, size: int | None, on_bytes: OnBytes, headers: Mapping[str, str]
) -> None:
    """Write what an address gives to ``target``, after the bytes that are there already.

    Parameters
    ----------
    hub : module
        huggingface_hub.
    url : str
        Where it is.
    target : Path
        What came of it so far, if anything.
    size : int or None
        How many bytes it has.
    on_bytes : callable
        See ``OnBytes``.
    headers : mapping of str to str
        What is said to the first host; a token is not passed on to another.

    Raises
    ------
    FetchFailed
        More came than was promised. Not retryable.
    OSError
        ``target`` cannot be written.

    What the client raises is for ``enrich.hub.refusals.translated``.
    """
    with target.open("ab") as file:
        if size is not None and file.tell() > size:  # of no use
            _empty(file)
        on_bytes(file.tell())
        failures = 0
        while True:
            have = file.tell()
            try:
                is_whole = _receive(hub, url, file, size, on_bytes, headers)
                if is_whole and (size is None or file.tell() >= size):
                    break
                error: Exception = FetchFailed(f"{_named(url)} came incomplete; pull again", retryable=True)
            except hub.errors.HTTPError as refusal:
                error = refusal
            failures = 0 if file.tell() > have else failures
            if failures == len(WAITS_SECONDS) or not _may_pass(hub, error):
                raise error
            time.sleep(wished_seconds(error) or WAITS_SECONDS[failures])
            failures += 1
        file.flush()
        os.fsync(file.fileno())


def wished_seconds(error: Any) -> int | None:
    """Return how long a server that refused wishes to be left alone; None where it does not say."""
    said = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    return int(said) if re.fullmatch(r"[0-9]{1,9}", said) else None


def _may_pass(hub: Any, error: Exception) -> bool:
    if not isinstance(error, hub.errors.HfHubHTTPError):
        return True
    return error.response.status_code in _PASSING and (wished_seconds(error) or 0) <= WISH_SECONDS_MAX


def _receive(
    hub: Any, url: str, file: IO[bytes], size: int | None, on_bytes: OnBytes, headers: Mapping[str, str]
) -> bool:
    """Ask once for what is missing, and write what comes; return whether it came to its end."""
    have = file.tell()
    if have == size:
        return True
    # Packed, a part of it could not be asked for.
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    seconds = hub.constants.HF_HUB_DOWNLOAD_TIMEOUT
    with hub.utils.get_session().stream("GET", url, headers=asked, timeout=seconds) as response:
        if have and not _goes_on(response, have):
            _empty(file)
            on_bytes(-have)
        if have and response.status_code == _BEYOND:
            return False
        hub.utils.hf_raise_for_status(response)
        for block in response.iter_bytes():
            if size is not None and file.tell() + len(block) > size:
                _empty(file)
                raise FetchFailed(
                    f"{_named(url)}: more comes than the {size} bytes that were promised; it was thrown "
                    "away; do not trust the place it comes from"
                )
            file.write(block)
            on_bytes(len(block))
        return True


def _goes_on(response: Any, have: int) -> bool:
    """Tell whether what comes follows what is here; a refusal says nothing of it."""
    if response.status_code == _PARTIAL:
        start = _RANGE.match(response.headers.get("Content-Range", ""))
        return start is not None and int(start[1]) == have
    return response.status_code not in (200, _BEYOND)


def _named(url: str) -> str:
    """Return what may be said of an address: it can hold a password, which its file does not."""
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()
