"""What a client sends, read with a limit: JSON or a form."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.parse
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from enrich.api.errors import Cancelled, InvalidParameter, TimedOut, TooLarge

__all__ = ["Body", "Upload", "read", "said_bytes"]

#: A form has few fields; more than these are somebody's attempt at something.
_FIELDS_MAX = 100
_FILES_MAX = 8
_URL_ENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form: its bytes, still to be read, and its name as the client says it."""

    stream: BinaryIO
    file_name: str
    size_bytes: int


@dataclass(slots=True)
class Body:
    """What a request brought.

    Parameters
    ----------
    kind : {"none", "json", "form", "broken"}
        What it is; ``broken`` where it was said to be JSON and is not.
    json : object
        The document, where it is JSON.
    fields : dict
        A form's texts by name, the last one of each.
    files : dict
        A form's files by name, the last one of each.
    """

    kind: str = "none"
    json: Any = None
    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)

    @property
    def object(self) -> dict[str, Any]:
        """The values by name, of a JSON object or a form.

        Raises
        ------
        InvalidParameter
            It is neither. Not retryable.
        """
        if self.kind == "form":
            return dict(self.fields)
        if self.kind == "broken":
            raise InvalidParameter("the body is no valid JSON; it must be a JSON object")
        if self.kind != "json":
            raise InvalidParameter("the body must be a JSON object, sent as application/json")
        if not isinstance(self.json, dict):
            raise InvalidParameter(f"the body must be a JSON object, not {_named(self.json)}")
        return self.json


@contextlib.asynccontextmanager
async def read(request: Request, *, max_bytes: int, within_seconds: float) -> AsyncIterator[Body]:
    """Read a request's body; its files are closed afterwards.

    Raises
    ------
    TooLarge, InvalidParameter
        It is larger than ``max_bytes``, or not what it says it is. Not retryable.
    TimedOut
        It did not come within ``within_seconds``. Retryable.
    Cancelled
        The client went away. Not retryable.
    """
    form: FormData | None = None
    try:
        counted = _counted(request, max_bytes)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            async with asyncio.timeout(within_seconds):
                if media_type == "multipart/form-data":
                    form = await counted.form(
                        max_files=_FILES_MAX, max_fields=_FIELDS_MAX, max_part_size=max_bytes
                    )
                    body = _of_form(form)
                else:
                    body = _of_content(await counted.body(), media_type)
        except TimeoutError as error:
            raise TimedOut("the body did not come in time") from error
        except ClientDisconnect as error:
            raise Cancelled("the client went away while it sent") from error
        except MultiPartException as error:
            raise InvalidParameter(f"the form cannot be read: {error.message}") from error
        yield body
    finally:
        if form is not None:
            await form.close()


def said_bytes(request: Request) -> int | None:
    """Return how many bytes a request says that its body has."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _counted(request: Request, max_bytes: int) -> Request:
    """Return a request whose body is refused as soon as it is too large."""
    read_bytes = 0

    async def receive() -> Message:
        nonlocal read_bytes
        message = await request.receive()
        read_bytes += len(message.get("body", b""))
        if read_bytes > max_bytes:
            raise TooLarge(f"the body has more than the {max_bytes} bytes that are taken")
        return message

    # Without the application in its scope, a form that is wrong is an error of its own class.
    return Request({key: value for key, value in request.scope.items() if key != "app"}, receive)


def _of_form(form: FormData) -> Body:
    body = Body("form")
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            body.files[name] = Upload(value.file, value.filename or "", value.size or 0)
        else:
            body.fields[name] = _whole(value)
    return body


def _of_content(content: bytes, media_type: str) -> Body:
    # Without being told otherwise, curl says of any JSON that it is a form.
    is_form = media_type == _URL_ENCODED and content.lstrip()[:1] not in (b"{", b"[")
    return _of_fields(content) if is_form else _of_bytes(content)


def _of_fields(content: bytes) -> Body:
    try:
        pairs = urllib.parse.parse_qsl(
            content.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_FIELDS_MAX
        )
    except ValueError as error:
        raise InvalidParameter(f"the form has more than {_FIELDS_MAX} fields") from error
    return Body("form", fields=dict(pairs))


def _of_bytes(content: bytes) -> Body:
    """Return a body of JSON, whatever type it is said to be."""
    if not content.strip():
        return Body()
    try:
        document = json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # ValueError: no UTF-8, no JSON, or a number without end
        return Body("broken")
    return Body("json", _mended(document) if b"\\u" in content else document)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _mended(value: Any) -> Any:
    """Return a document without halves of surrogate pairs, which no UTF-8 can hold."""
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _mended(item) for key, item in value.items()}
    return value


def _whole(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _named(value: Any) -> str:
    for kind, name in (
        (list, "an array"),
        (str, "a string"),
        (bool, "a boolean"),
        ((int, float), "a number"),
    ):
        if isinstance(value, kind):
            return name
    return "null"
