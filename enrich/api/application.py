"""The application: every dialect's routes, the plugins' ones, and what is common to all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from enrich import __version__
from enrich.api import assets, captions, describer, openai, operations, prompted, tasks
from enrich.api.routes import Routes
from enrich.api.traffic import Traffic

if TYPE_CHECKING:
    from enrich.api.exchange import Backend
    from enrich.host import Host

__all__ = ["Application", "make_application"]

_DIALECTS = (openai, tasks, describer, captions, prompted, assets, operations)
_DESCRIPTION = (
    "Pictures in, words out, in the dialects of several services over the same models. "
    "Where keys are configured: `Authorization: Bearer KEY`."
)


class Application(Traffic):
    """What the server runs: an ASGI application, and what ends with it."""

    def __init__(self, application: FastAPI, routes: Routes) -> None:
        super().__init__(application, routes.backend.numbers)
        self.routes = routes
        self.document = application.openapi

    def close(self) -> None:
        """Let no handler begin any more."""
        self.routes.close()


def make_application(backend: Backend, host: Host | None = None) -> Application:
    """Put the application together.

    Parameters
    ----------
    backend : Backend
        What handlers work with.
    host : Host or None
        Its plugins may bring routes by ``enrich_register_routes``.
    """
    application = FastAPI(
        title="enrich",
        version=__version__,
        description=_DESCRIPTION,
        # Its own page would load scripts from elsewhere; ours needs none.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    application.add_exception_handler(HTTPException, _refuse_path)
    routes = Routes(application, backend)
    for dialect in _DIALECTS:
        dialect.add_routes(routes)
    operations.add_document(routes, lambda: application.openapi())
    if host is not None:
        host.notify("enrich_register_routes", routes=routes)
    _declare_keys(application)
    return Application(application, routes)


async def _refuse_path(request: Request, error: Exception) -> Response:
    """Say that there is no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    said = {
        "code": "not_found",
        "message": "there is no such path; /docs lists those there are",
        "parameter": None,
    }
    if error.status_code == 405:
        said = {"code": "method_not_allowed", "message": f"not by {request.method}", "parameter": None}
    elif error.status_code != 404:
        said = {"code": "http", "message": str(error.detail), "parameter": None}
    content = {"error": said, "request_id": request.scope.get("request_id", "")}
    headers = error.headers
    if error.status_code == 405:  # of all routes by this path, not of the first one alone
        headers = {"Allow": ", ".join(sorted(_methods(request)))}
    return JSONResponse(content, status_code=error.status_code, headers=headers)


def _methods(request: Request) -> set[str]:
    found = {
        method
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }
    return found | {"HEAD"} if "GET" in found else found


def _declare_keys(application: FastAPI) -> None:
    """Say in the OpenAPI document how keys are sent."""
    made = application.openapi

    def document() -> dict[str, Any]:
        if application.openapi_schema is None:
            said = made()
            said.setdefault("components", {})["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer"}
            }
            said["security"] = [{"key": []}, {}]
        return application.openapi_schema or {}

    application.openapi = document  # type: ignore[method-assign]  # FastAPI's way of extending its document
