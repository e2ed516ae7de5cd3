"""One request as its handler sees it, and the parts of the server that handlers work with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic

from enrich.api.access import bearer
from enrich.api.bodies import Body
from enrich.api.errors import InvalidParameter
from enrich.api.requests import Caller

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.api.access import Access
    from enrich.api.kept import Kept
    from enrich.api.loads import Loads
    from enrich.api.metering import Metering
    from enrich.api.numbers import Numbers
    from enrich.api.pictures import Pictures, Received
    from enrich.api.service import Service
    from enrich.api.tasklist import TaskList
    from enrich.settings import Settings

__all__ = ["Backend", "Exchange"]

M = TypeVar("M", bound=pydantic.BaseModel)


@dataclass(frozen=True, slots=True)
class Backend:
    """What all handlers share."""

    settings: Settings
    engine: sa.Engine
    access: Access
    service: Service
    pictures: Pictures
    kept: Kept
    metering: Metering
    tasks: TaskList
    numbers: Numbers
    loads: Loads
    is_ready: Callable[[], bool] = lambda: True


@dataclass(slots=True, eq=False)
class Exchange:
    """One request; its handler runs in a thread of its own and may block.

    Parameters
    ----------
    backend : Backend
        The server's parts.
    request_id : str
        A UUID; in the logs and in the answer's ``X-Request-Id``.
    dialect : str
        Whose handler it is, for logs, metrics and usage.
    method, path : str
        As asked.
    headers, query, place : mapping
        Headers by lower-case name, the query's last value by name, and what the path's places hold.
    deadline : float
        The ``time.monotonic()`` instant after which nobody waits.
    cancel : threading.Event
        Set when the client went away.
    body : Body
        What it brought.
    """

    backend: Backend
    request_id: str
    dialect: str
    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    place: Mapping[str, str]
    deadline: float
    cancel: threading.Event = field(default_factory=threading.Event)
    body: Body = field(default_factory=Body)
    caller: Caller = field(default_factory=Caller)
    #: What the access log says besides.
    facts: dict[str, Any] = field(default_factory=dict)
    #: What is closed when the request's work ended.
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    #: A thread works on it, and closes the stack.
    is_handed_over: bool = False

    def authorize(self, scope: str, *, count: int = 0, secret: str | None = None) -> Caller:
        """Find out who asks, and whether they may.

        Parameters
        ----------
        scope : str
            ``"infer"`` or ``"read"``.
        count : int
            How many requests it counts as against the key's limits.
        secret : str or None
            A key out of the body, where the dialect has it there; the bearer's goes before.

        Raises
        ------
        NotAuthorized, InvalidKey, NotAllowed
            Not retryable.
        TooManyRequests
            Retryable.
        """
        self.backend.access.check_origin(self.headers)
        self.caller = self.backend.access.identify(bearer(self.headers) or secret)
        self.facts["key"] = self.caller.name
        self.backend.access.admit(self.caller, scope, count)
        return self.caller

    def pictures(
        self, *, max_bytes: int | None = None, media_types: Collection[str] | None = None
    ) -> Received:
        """Return what takes in this request's pictures; what they left on the disk goes when it ends."""
        limits: dict[str, Any] = {} if media_types is None else {"media_types": media_types}
        receiving = self.backend.pictures.receive(self.caller, max_bytes=max_bytes, **limits)
        return self.stack.enter_context(receiving)

    def parse(self, model: type[M], values: Any = None) -> M:
        """Return the body, or other values, as a model.

        Raises
        ------
        InvalidParameter
            A field is missing or wrong. Not retryable.
        """
        try:
            return model.model_validate(self.body.object if values is None else values)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(str(part) for part in first["loc"]) or None
            said = "is required" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
            raise InvalidParameter(f"{name}: {said}" if name else said, name) from None
