"""Runs one task of a task array, whoever waits for it, and says what came of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from enrich.api.errors import ApiError, Busy, Internal
from enrich.api.requests import Ask, Caller, Kind, Picture, Reply
from enrich.api.task_fields import KINDS
from enrich.api.tasklist import Done
from enrich.catalog.tasks import MAX_ATTEMPTS, TaskRow
from enrich.errors import CatalogBusy
from enrich.hub.listed import resolve

if TYPE_CHECKING:
    from enrich.api.metering import Metering
    from enrich.api.pictures import Pictures, Received
    from enrich.api.service import Service
    from enrich.sections import Api

__all__ = ["TASKS", "Performer", "error_item", "phrase", "result_item", "taken"]

log = logging.getLogger("enrich.http")

#: The dialect's name, for logs, metrics and usage.
TASKS = "tasks"
#: So often a task waits for what is busy, and so long each time.
_TRIES = 60
_PAUSE_SECONDS = 1.0

_CODES = {
    "not_authorized": "missingApiKey",
    "invalid_key": "invalidApiKey",
    "not_allowed": "notAllowed",
    "too_many_requests": "rateLimitExceeded",
    "insufficient_credits": "insufficientCredits",
    "invalid_parameter": "invalidParameter",
    "unknown_model": "invalidModel",
    "language_not_possible": "languageNotPossible",
    "not_found": "notFound",
    "too_large": "imageTooLarge",
    "invalid_image": "invalidImage",
    "image_not_fetched": "imageNotFetched",
    "blocked": "contentBlocked",
    "busy": "serverBusy",
    "timed_out": "timeout",
    "duplicate_task": "duplicateTaskUUID",
    "unknown_task_type": "unsupportedTaskType",
}


class Performer:
    """Runs tasks, from any thread.

    Parameters
    ----------
    pictures : Pictures
        Gets their pictures.
    service : Service
        Knows what each model can do.
    metering : Metering
        Asks it, on the key's account.
    api : Api
        How long one may take.
    """

    def __init__(self, pictures: Pictures, service: Service, metering: Metering, api: Api) -> None:
        self._pictures = pictures
        self._service = service
        self._metering = metering
        self._deadline_seconds = api.deadline_seconds

    def perform(self, task: TaskRow, cancel: threading.Event) -> Done:
        """Run a task; what fails is its result as well."""
        head = {"taskType": task.task_type, "taskUUID": task.task_uuid}
        try:
            if task.attempts > MAX_ATTEMPTS:
                raise Internal(f"given up after {MAX_ATTEMPTS} tries, in each of which the server died")
            body = task.body or {}
            if task.task_type == "imageUpload":
                return Done({**head, "imageUUID": body["imageUUID"]})
            return self._caption(task, body, head, cancel)
        except ApiError as error:
            return Done(error_item(error, head), is_error=True)
        # A task that fails without a word would be tried for ever.
        except Exception:
            log.exception("the task %s failed", task.task_uuid)
            failure = Internal("something went wrong here; the log says what, by the taskUUID")
            return Done(error_item(failure, head), is_error=True)

    def _caption(
        self, task: TaskRow, body: Mapping[str, Any], head: Mapping[str, Any], cancel: threading.Event
    ) -> Done:
        caller = Caller(task.key_id)
        model = None if body["model"] is None else resolve(body["model"])
        kind = self._kind(KINDS.get(body["model"] or ""), model, body["prompt"])
        with self._pictures.receive(caller) as received:
            ask = Ask(
                kind,
                (taken(received, body["image"], "inputImage"),),
                model=model,
                prompt=body["prompt"] if kind in ("answer", "phrases") else None,
                length="long",
                deadline=time.monotonic() + self._deadline_seconds,
                dialect=TASKS,
                caller=caller,
                request_id=task.task_uuid,
            )
            reply = self._ask(ask, cancel)
        return Done({**head, **_said(kind, reply)}, cost=reply.cost, shows_cost=body["includeCost"])

    def _ask(self, ask: Ask, cancel: threading.Event) -> Reply:
        for left in range(_TRIES, -1, -1):
            try:
                return self._metering.answer(ask, cancel)
            except (Busy, CatalogBusy):
                if not left:
                    raise
                time.sleep(_PAUSE_SECONDS)
        raise AssertionError("the last try returns or raises")

    def _kind(self, wanted: str | None, model: str | None, prompt: str | None) -> Kind:
        """Return what a model is asked for: words where it has some, else what it is made for."""
        if wanted == "age":
            return "age"
        if wanted == "phrases":
            return "phrases"
        if wanted is None and model is not None:
            hooks = {hook for offer in self._service.offers() if offer.name == model for hook in offer.hooks}
            if hooks and not hooks & {"enrich_caption", "enrich_answer"}:
                if "enrich_text" in hooks:
                    return "text"
                if "enrich_age" in hooks:
                    return "age"
                return "tag" if prompt is None else "phrases"
        return "caption" if prompt is None else "answer"


def taken(received: Received, image: str, parameter: str) -> Picture:
    """Take in a picture; what is wrong with it is said of its field.

    Raises
    ------
    ApiError
        As ``Received.named`` says.
    """
    try:
        return received.named(image)
    except ApiError as error:
        error.parameter = parameter
        raise


def _said(kind: Kind, reply: Reply) -> dict[str, Any]:
    data = reply.data or {}
    if kind == "age":
        confidence = data.get("confidence")
        percent = None if confidence is None else round(confidence * 100, 2)
        return {"structuredData": {"ageGroup": data.get("ageGroup"), "confidence": percent}}
    if kind in ("tag", "phrases"):
        ranked = [
            {
                "name": tag["name"],
                "confidence": None if tag["confidence"] is None else round(tag["confidence"] * 100, 2),
            }
            for tag in data.get("tags", ())
        ]
        return {"text": ranked[0]["name"] if ranked else "", "structuredData": {"labels": ranked}}
    return {"text": reply.text or ""}


def error_item(error: ApiError, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of ``errors`` about an item."""
    return {
        "code": _CODES.get(error.kind, "internalError"),
        "message": str(error),
        "parameter": error.parameter,
        "taskType": item.get("taskType"),
        "taskUUID": item.get("taskUUID"),
    }


def result_item(done: Done) -> dict[str, Any]:
    """Return an entry of ``data`` or ``errors``."""
    if done.shows_cost and not done.is_error and done.cost is not None:
        return {**done.item, "cost": float(done.cost)}
    return dict(done.item)


def phrase(done: Done) -> dict[str, Any]:
    """Return what is posted to a task's webhook: an answer with one item."""
    item = result_item(done)
    return {"data": [] if done.is_error else [item], "errors": [item] if done.is_error else []}
