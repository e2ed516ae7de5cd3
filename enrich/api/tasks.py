"""The dialect of task arrays: ``/v1/tasks``, several things at once, waited for or not."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response

from enrich.api import task_fields as fields
from enrich.api import task_schemas as schemas
from enrich.api.errors import (
    ApiError,
    Internal,
    InvalidParameter,
    NotFound,
    TimedOut,
    TooManyRequests,
)
from enrich.api.exchange import Exchange
from enrich.api.performer import TASKS, error_item, result_item, taken
from enrich.api.requests import Caller
from enrich.api.routes import Dialect, Routes
from enrich.api.tasklist import Done, Wanted
from enrich.catalog.tasks import Conflict, TaskRow
from enrich.errors import FetchRefused
from enrich.outbound import check_url

__all__ = ["add_routes", "refuse", "run_all"]

_ITEMS_MAX = 500
_LINKS = ("http://", "https://")


class _Duplicate(InvalidParameter):
    """The taskUUID is another task's."""

    kind = "duplicate_task"
    status = 409


class _UnknownType(InvalidParameter):
    """There is no such taskType."""

    kind = "unknown_task_type"


def refuse(error: ApiError, exchange: Exchange) -> Response:
    """Return the answer to an array that is refused as a whole."""
    return JSONResponse({"data": [], "errors": [error_item(error, {})]}, status_code=error.status)


DIALECT = Dialect(TASKS, refuse, schemas.ERRORS, schemas.ERROR)


def add_routes(routes: Routes) -> None:
    """Offer the dialect."""
    for path in ("/v1/tasks", "/v1"):
        routes.add(
            "POST",
            path,
            run_all,
            dialect=DIALECT,
            summary="Several tasks at once",
            description="Always an array of objects. What is wrong with one item is an entry of `errors`.",
            request=schemas.REQUEST,
            responses=schemas.RESPONSES,
        )


def run_all(exchange: Exchange) -> Mapping[str, Any]:
    """Answer ``POST /v1/tasks``."""
    items = _items(exchange)
    caller = exchange.authorize("infer", secret=_key(items))
    exchange.facts["tasks"] = len(items)
    answers: list[Done | TaskRow | None] = []
    limited: TooManyRequests | None = None
    for item in items:
        try:
            answers.append(_start(exchange, caller, item))
        except ApiError as error:
            limited = error if isinstance(error, TooManyRequests) else limited
            answers.append(Done(error_item(error, item), is_error=True))
    if limited is not None and all(isinstance(one, Done) and one.is_error for one in answers):
        raise limited
    until = time.monotonic() + exchange.backend.settings.api.sync_timeout_seconds
    data: list[Mapping[str, Any]] = []
    errors: list[Mapping[str, Any]] = []
    for item, answer in zip(items, answers, strict=True):
        done = _wait(exchange, item, answer, until) if isinstance(answer, TaskRow) else answer
        if done is not None:
            if done.item.get("status") == "error":  # asked for: it is an item of its own, besides the error
                data.append({name: done.item[name] for name in ("taskType", "taskUUID", "status")})
            (errors if done.is_error else data).append(result_item(done))
    return {"data": data, "errors": errors}


def _items(exchange: Exchange) -> list[dict[str, Any]]:
    if exchange.body.kind != "json":
        raise InvalidParameter("the body must be a JSON array of objects, and is no JSON")
    items = exchange.body.json
    if not isinstance(items, list):
        raise InvalidParameter("the body must be an array of objects: put [ and ] around it")
    if not items or len(items) > _ITEMS_MAX:
        raise InvalidParameter(f"the array must have 1 to {_ITEMS_MAX} objects, not {len(items)}")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise InvalidParameter("each entry of the array must be an object", str(index))
    return items


def _key(items: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the key of an authentication task, which may stand anywhere in the array."""
    keys = (item.get("apiKey") for item in items if item.get("taskType") == "authentication")
    return next((key for key in keys if isinstance(key, str)), None)


def _start(exchange: Exchange, caller: Caller, item: Mapping[str, Any]) -> Done | TaskRow | None:
    """Begin one task; return what came of it at once, or its row, which is to be waited for."""
    kind = item.get("taskType")
    if kind is None:
        raise InvalidParameter("taskType: is required", "taskType")
    if kind == "authentication":
        said = {"taskType": kind, **({"taskUUID": item["taskUUID"]} if "taskUUID" in item else {})}
        return Done(said)
    if kind not in ("imageCaption", "imageUpload", "getResponse"):
        raise _UnknownType(
            "taskType: must be imageCaption, imageUpload, getResponse or authentication", "taskType"
        )
    if not fields.is_uuid(item.get("taskUUID")):
        raise InvalidParameter("taskUUID: a UUID is required", "taskUUID")
    if kind == "getResponse":
        return _look_up(exchange, caller, item)
    return _caption(exchange, caller, item) if kind == "imageCaption" else _upload(exchange, caller, item)


def _look_up(exchange: Exchange, caller: Caller, item: Mapping[str, Any]) -> Done:
    task = exchange.backend.tasks.find(caller.key_id, item["taskUUID"])
    if task is None:
        raise NotFound("there is no task with this taskUUID, or its result has expired")
    if task.state not in ("success", "error"):
        return Done({"taskType": task.task_type, "taskUUID": item["taskUUID"], "status": "processing"})
    done = _done(task)
    shows_cost = done.shows_cost or item.get("includeCost") is True
    said = {**done.item, "taskUUID": item["taskUUID"], "status": task.state}
    return Done(said, done.is_error, done.cost, shows_cost)


def _caption(exchange: Exchange, caller: Caller, item: Mapping[str, Any]) -> Done | TaskRow:
    wanted = exchange.parse(fields.Caption, item)
    if (known := _known(exchange, caller, item)) is not None:
        return _acknowledged(known, item) if wanted.deliveryMethod == "async" else known
    exchange.backend.access.admit(caller, "infer", 1)
    if wanted.webhookURL is not None:
        try:
            check_url(wanted.webhookURL, exchange.backend.settings.api.allow_hosts)
        except FetchRefused as error:
            raise InvalidParameter(f"webhookURL: {error}", "webhookURL") from error
    image = wanted.inputImage.strip()
    stored: tuple[str, ...] = ()
    if fields.is_uuid(image):
        stored = (image.lower(),)
    elif not image.lower().startswith(_LINKS):
        # What is only in the request must outlive it; an address is fetched when its turn comes.
        stored = (_store(exchange, image),)
        image = stored[0]
    body = {
        "image": image,
        "model": wanted.model,
        "prompt": (wanted.prompt or "").strip() or None,
        "includeCost": wanted.includeCost is True,
    }
    accepted = exchange.backend.tasks.accept(
        Wanted(
            caller.key_id,
            item["taskUUID"],
            "imageCaption",
            fields.digest(item),
            body,
            is_async=wanted.deliveryMethod == "async",
            webhook_url=wanted.webhookURL,
            upload_uuids=stored,
        )
    )
    if isinstance(accepted, Conflict):
        raise _Duplicate("the taskUUID was used for another task", "taskUUID")
    return _acknowledged(accepted.task, item) if wanted.deliveryMethod == "async" else accepted.task


def _upload(exchange: Exchange, caller: Caller, item: Mapping[str, Any]) -> Done | TaskRow:
    wanted = exchange.parse(fields.Upload, item)
    if (known := _known(exchange, caller, item)) is not None:
        return known
    received = exchange.pictures()
    named = received.store(taken(received, wanted.image, "image")).uuid
    accepted = exchange.backend.tasks.accept(
        Wanted(
            caller.key_id,
            item["taskUUID"],
            "imageUpload",
            fields.digest(item),
            {"imageUUID": named},
            is_async=False,
        )
    )
    if isinstance(accepted, Conflict):
        raise _Duplicate("the taskUUID was used for another task", "taskUUID")
    return accepted.task


def _known(exchange: Exchange, caller: Caller, item: Mapping[str, Any]) -> TaskRow | None:
    """Return the task that this one is a repetition of, before anything is fetched or stored for it."""
    found = exchange.backend.tasks.find(caller.key_id, item["taskUUID"])
    if found is not None and found.body_digest != fields.digest(item):
        raise _Duplicate("the taskUUID was used for another task", "taskUUID")
    return found


def _store(exchange: Exchange, image: str) -> str:
    received = exchange.pictures()
    return received.store(taken(received, image, "inputImage"), is_for_task=True).uuid


def _acknowledged(task: TaskRow, item: Mapping[str, Any]) -> Done:
    return Done({"taskType": task.task_type, "taskUUID": item["taskUUID"]})


def _wait(exchange: Exchange, item: Mapping[str, Any], task: TaskRow, until: float) -> Done:
    finished = exchange.backend.tasks.wait(task, until)
    if finished is None:
        error = TimedOut("the task takes longer than a request waits; it goes on: ask for it by getResponse")
        return Done(error_item(error, item), is_error=True)
    done = _done(finished)
    return dataclasses.replace(done, item={**done.item, "taskUUID": item["taskUUID"]})


def _done(task: TaskRow) -> Done:
    kept = task.result
    if kept is None:
        return Done(error_item(Internal("the result is gone"), {}), is_error=True)
    return Done(kept["item"], task.state == "error", task.cost, kept["showsCost"])
