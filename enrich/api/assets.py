"""Our own paths: pictures sent, and the catalog read."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping
from typing import Any

import PIL.Image
from starlette.responses import JSONResponse, Response

from enrich.api.errors import ApiError, InvalidParameter, NotFound
from enrich.api.exchange import Exchange
from enrich.api.kept import items_of
from enrich.api.pictures import render
from enrich.api.plain import OWN
from enrich.api.requests import Caller
from enrich.api.routes import Routes
from enrich.catalog import browse, kept, uploads
from enrich.catalog.engine import translated
from enrich.errors import FileError

__all__ = ["add_routes", "list_assets", "search", "send", "show_asset", "show_thumbnail"]

_PAGE = 50
_PAGE_MAX = 500
_SEARCH_MAX = 200
_THUMBNAIL_PX = 320
_THUMBNAIL_MAX_PX = 1024
#: What the pixels alone say, which whoever sent them knows.
_OF_PIXELS = ("image_hash", "width_px", "height_px")
#: What a client may name: rows have ids of 63 bits.
_ID_MAX = 2**63 - 1

_ID: dict[str, Any] = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_LIMIT: dict[str, Any] = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": _PAGE_MAX, "default": _PAGE},
}
_BEFORE: dict[str, Any] = {
    "name": "before",
    "in": "query",
    "description": "The id that the last page ended with.",
    "schema": {"type": "integer", "minimum": 1},
}


def add_routes(routes: Routes) -> None:
    """Offer our own paths."""
    routes.add(
        "POST",
        "/assets",
        send,
        dialect=OWN,
        summary="Make a picture an asset, which this key may name by its UUID",
        request=_SEND,
        responses={
            201: {
                "description": "It is here.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        },
    )
    for path, handler, summary, parameters in (
        (
            "/assets",
            list_assets,
            "Assets, newest first; without the scope read, what this key sent",
            [_LIMIT, _BEFORE],
        ),
        (
            "/assets/{id}",
            show_asset,
            "An asset and what is said of it; or what this key sent, by UUID",
            [_ID],
        ),
        ("/search", search, "Assets by words in what is said of them", [_QUERY, _LIMIT, _BEFORE]),
    ):
        routes.add(
            "GET", path, handler, dialect=OWN, summary=summary, parameters=parameters, responses=_FOUND
        )
    routes.add(
        "GET",
        "/assets/{id}/thumbnail",
        show_thumbnail,
        dialect=OWN,
        summary="An asset as a small JPEG",
        parameters=[_ID, _SIZE],
        responses={
            200: {"description": "A JPEG.", "content": {"image/jpeg": {"schema": {"type": "string"}}}}
        },
    )


_FOUND: dict[int, dict[str, Any]] = {
    200: {"description": "What was found.", "content": {"application/json": {"schema": {"type": "object"}}}}
}
_QUERY: dict[str, Any] = {
    "name": "q",
    "in": "query",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
}
_SIZE: dict[str, Any] = {
    "name": "size",
    "in": "query",
    "description": "The longest edge.",
    "schema": {"type": "integer", "minimum": 16, "maximum": _THUMBNAIL_MAX_PX, "default": _THUMBNAIL_PX},
}
_SEND: Mapping[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {"image": {"type": "string", "format": "binary"}},
            }
        },
        "application/json": {
            "schema": {"type": "object", "required": ["image"], "properties": {"image": {"type": "string"}}},
            "example": {"image": "https://example.org/picture.jpg"},
        },
    },
}


def send(exchange: Exchange) -> Response:
    """Answer ``POST /assets``."""
    caller = exchange.authorize("infer")
    received = exchange.pictures()
    file = exchange.body.files.get("image") or exchange.body.files.get("file")
    if file is not None:
        picture = received.stream(file.stream, file.file_name)
    else:
        named = exchange.body.object.get("image")
        if not isinstance(named, str) or not named:
            raise InvalidParameter("image: a file of a form, or a text in JSON, is required", "image")
        picture = received.named(named)
    asset_id = exchange.backend.kept.take(picture, caller)
    with translated(), exchange.backend.engine.connect() as connection:
        named = browse.sent_as(connection, caller.key_id, asset_id)
    content = {
        "id": asset_id,
        "uuid": named,
        "file_name": picture.file_name,
        "media_type": picture.media_type,
        "size_bytes": picture.size_bytes,
        "width_px": picture.rendition.original_width_px,
        "height_px": picture.rendition.original_height_px,
        "sha256": picture.sha256,
    }
    return JSONResponse(content, status_code=201)


def list_assets(exchange: Exchange) -> Mapping[str, Any]:
    """Answer ``GET /assets``."""
    caller = _reader(exchange)
    limit, before = _number(exchange, "limit", _PAGE, 1, _PAGE_MAX), _before(exchange)
    with translated(), exchange.backend.engine.connect() as connection:
        if "read" in caller.scopes:
            found = browse.assets(connection, limit=limit, before_id=before)
            return {"assets": found, "before": found[-1]["id"] if len(found) == limit else None}
        sent = uploads.sent(connection, caller.key_id, limit=limit, before_id=before)
    return {"assets": [_sent(row) for row in sent], "before": sent[-1].id if len(sent) == limit else None}


def show_asset(exchange: Exchange) -> Mapping[str, Any]:
    """Answer ``GET /assets/{id}``."""
    caller = _reader(exchange)
    name = exchange.place["id"]
    with translated(), exchange.backend.engine.connect() as connection:
        if not name.isdecimal():
            named = _upload(name, caller, connection)
            if named.asset_id is None:
                return _sent(named)
        asset_id = _asset_id(exchange, caller, connection)
        found = browse.asset(connection, asset_id)
        if found is None:
            raise _no_asset()
        if "read" in caller.scopes:
            found["paths"] = [_shown(path) for path, _ in browse.places(connection, asset_id)]
            return {**found, "annotations": browse.statements(connection, asset_id)}
        # Others may have sent the same picture, with its date and camera; this key hears what it sent
        # itself, and what its own requests were told.
        row = _upload(browse.sent_as(connection, caller.key_id, asset_id) or "", caller, connection)
        own = browse.statements(connection, asset_id, kept.STEP, items=items_of(caller))
        return {**_sent(row), **{name: found[name] for name in _OF_PIXELS}, "annotations": own}


def show_thumbnail(exchange: Exchange) -> Response:
    """Answer ``GET /assets/{id}/thumbnail``."""
    caller = _reader(exchange)
    size_px = _number(exchange, "size", _THUMBNAIL_PX, 16, _THUMBNAIL_MAX_PX)
    with translated(), exchange.backend.engine.connect() as connection:
        places = browse.places(connection, _asset_id(exchange, caller, connection))
    for path, media_type in places:
        try:
            frame = render(path, media_type, size_px, max_pixels=exchange.backend.settings.max_pixels)
        except (FileError, OSError):  # another of its files may be there still
            continue
        written = io.BytesIO()
        PIL.Image.fromarray(frame.pixels).save(written, "JPEG", quality=85)
        return Response(
            written.getvalue(), media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"}
        )
    raise _no_asset()


def search(exchange: Exchange) -> Mapping[str, Any]:
    """Answer ``GET /search``."""
    exchange.authorize("read")
    text = exchange.query.get("q", "").strip()
    if not text or len(text) > _SEARCH_MAX or "\0" in text:
        raise InvalidParameter(f"q: 1 to {_SEARCH_MAX} characters are required", "q")
    limit, before = _number(exchange, "limit", _PAGE, 1, _PAGE_MAX), _before(exchange)
    with translated(), exchange.backend.engine.connect() as connection:
        found = browse.search(connection, text, limit=limit, before_id=before)
    return {"found": found, "before": found[-1]["asset_id"] if len(found) == limit else None}


def _reader(exchange: Exchange) -> Caller:
    """Let in who may read the catalog, or what they sent themselves."""
    try:
        return exchange.authorize("read")
    except ApiError:
        return exchange.authorize("infer")


def _asset_id(exchange: Exchange, caller: Caller, connection: Any) -> int:
    name = exchange.place["id"]
    if not name.isdecimal():
        name = str(_upload(name, caller, connection).asset_id or 0)
    asset_id = int(name) if name.isascii() and name.isdecimal() and len(name) < 20 else 0
    if not 0 < asset_id <= _ID_MAX:
        raise _no_asset()
    if "read" not in caller.scopes and not uploads.has_sent(connection, caller.key_id, asset_id):
        raise _no_asset()
    return asset_id


def _upload(name: str, caller: Caller, connection: Any) -> uploads.UploadRow:
    row = uploads.find(connection, name.lower(), caller.key_id, _now())
    if row is None:
        raise _no_asset()
    return row


def _no_asset() -> NotFound:
    return NotFound("there is no such asset, or it is another key's")


def _sent(row: uploads.UploadRow) -> dict[str, Any]:
    return {
        "id": row.asset_id,
        "uuid": row.uuid,
        "file_name": row.file_name,
        "media_type": row.media_type,
        "size_bytes": row.size_bytes,
        "sha256": row.sha256,
        "created_at": row.created_at.isoformat(),
        "expires_at": None if row.expires_at is None else row.expires_at.isoformat(),
    }


def _before(exchange: Exchange) -> int | None:
    return _number(exchange, "before", 0, 1, _ID_MAX) if "before" in exchange.query else None


def _number(exchange: Exchange, name: str, default: int, least: int, most: int) -> int:
    text = exchange.query.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    if not least <= number <= most:
        raise InvalidParameter(f"{name}: must be a number from {least} to {most}", name)
    return number


def _shown(path: Any) -> str:
    return str(path).encode(errors="replace").decode()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
