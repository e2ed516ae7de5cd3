"""What operators and their programs ask: is it alive, is it ready, its numbers, and what it offers."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response

from enrich import __version__
from enrich.api import numbers, plain
from enrich.api.exchange import Exchange
from enrich.api.routes import Dialect, Routes
from enrich.catalog import report
from enrich.errors import CatalogError

__all__ = ["add_document", "add_routes", "show_metrics", "show_ready"]

_ERRORS = {400: "The body is no form.", 413: "The body is too large.", 500: "Our fault; the log says more."}
_LIGHT = Dialect("operations", plain.refuse, _ERRORS, plain.ERROR, is_light=True)
_GUARDED_ERRORS = {**_ERRORS, **{status: plain.ERRORS[status] for status in (401, 403, 503)}}
_GUARDED = Dialect("operations", plain.refuse, _GUARDED_ERRORS, plain.ERROR, is_light=True)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;padding:.8rem;overflow:auto}code{font-size:.95em}h2{margin-top:2.5rem}"
)


def add_routes(routes: Routes) -> None:
    """Offer health, readiness and metrics."""
    routes.add(
        "GET",
        "/healthz",
        lambda exchange: {"status": "ok", "version": __version__},
        dialect=_LIGHT,
        summary="Whether the process lives",
        responses=_json({"status": "ok", "version": __version__}),
    )
    routes.add(
        "GET",
        "/readyz",
        show_ready,
        dialect=_LIGHT,
        summary="Whether requests should be sent here",
        responses={**_json({"status": "ready"}), 503: {"description": "Not now; `reason` says why."}},
    )
    routes.add(
        "GET",
        "/metrics",
        show_metrics,
        dialect=_GUARDED,
        summary="Numbers for Prometheus",
        responses={200: {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )


def add_document(routes: Routes, document: Callable[[], Mapping[str, Any]]) -> None:
    """Offer the OpenAPI document, and a page for people that needs nothing from elsewhere."""
    routes.add(
        "GET",
        "/openapi.json",
        lambda exchange: JSONResponse(document()),
        dialect=_LIGHT,
        summary="This document",
        responses={200: {"description": "OpenAPI 3.1."}},
    )
    routes.add(
        "GET",
        "/docs",
        lambda exchange: HTMLResponse(
            _page(document()),
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        ),
        dialect=_LIGHT,
        summary="This document for people",
        responses={200: {"description": "A page.", "content": {"text/html": {"schema": {"type": "string"}}}}},
    )


def show_ready(exchange: Exchange) -> Response:
    """Answer ``GET /readyz``: the catalog answers, and the server is not about to end."""
    reason = None
    if not exchange.backend.is_ready():
        reason = "it is starting or about to end"
    else:
        try:
            report.open_jobs(exchange.backend.engine)
        except CatalogError:
            reason = "the catalog does not answer"
    if reason is not None:
        return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)
    return JSONResponse({"status": "ready"})


def show_metrics(exchange: Exchange) -> Response:
    """Answer ``GET /metrics``."""
    exchange.authorize("read")
    return Response(exchange.backend.numbers.text(), media_type=numbers.CONTENT_TYPE)


def _json(example: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {200: {"description": "Yes.", "content": content}}


def _page(document: Mapping[str, Any]) -> str:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>enrich</title><style>{_STYLE}</style>",
        f"<h1>enrich {html.escape(__version__)}</h1><p>{html.escape(document['info']['description'])}</p>",
        "<p>For programs: <a href=openapi.json>openapi.json</a></p>",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{html.escape(operation.get('summary', ''))}.")
            parts.append(f" {html.escape(operation.get('description', ''))}</p>")
            parts += _examples("asked", operation.get("requestBody", {}))
            for status, response in sorted(operation["responses"].items()):
                parts.append(f"<p><b>{status}</b> {html.escape(response.get('description', ''))}</p>")
                parts += _examples("answered", response)
    return "\n".join(parts) + "</html>"


def _examples(what: str, said: Mapping[str, Any]) -> list[str]:
    shown = []
    for media_type, content in said.get("content", {}).items():
        if "example" in content:
            text = html.escape(json.dumps(content["example"], indent=2, ensure_ascii=False))
            shown.append(f"<p>{what} as {html.escape(media_type)}</p><pre>{text}</pre>")
    return shown
