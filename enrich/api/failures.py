"""What plugins, models and filters come to where they fail, in words for a client."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from enrich.api.errors import ApiError, Blocked, Internal, InvalidParameter
from enrich.api.offers import plain
from enrich.api.requests import Picture
from enrich.errors import CatalogBusy, EnrichError, UsageError
from enrich.types import Skip

if TYPE_CHECKING:
    from enrich.host import Host

__all__ = ["failure", "moderate", "translated"]

log = logging.getLogger(__name__)

#: Why a model's handle refuses a picture; see ``enrich.inference.OUTSIDE_DOMAIN``.
_OUTSIDE_DOMAIN = "outside_domain"


def failure(outcome: EnrichError | Skip, model: str) -> EnrichError:
    """Return what a client is told of an outcome that is no answer."""
    if isinstance(outcome, Skip):
        if outcome.reason == _OUTSIDE_DOMAIN:
            return InvalidParameter(
                f"the model {model} does not know pictures of this kind; name another one", "model"
            )
        return InvalidParameter(f"the picture was not judged: {outcome.reason}")
    if isinstance(outcome, (ApiError, CatalogBusy)):
        return outcome
    if isinstance(outcome, UsageError):
        return InvalidParameter(plain(str(outcome)))
    log.error("%s: %s", model or "a request", outcome, exc_info=outcome)
    return Internal(f"the model {model} failed; the server's log says why" if model else "it failed here")


@contextlib.contextmanager
def translated(model: str) -> Iterator[None]:
    """Turn what a model raises into what a client is told.

    Raises
    ------
    InvalidParameter
        It cannot be asked so. Not retryable.
    Internal
        It failed. Not retryable.
    """
    try:
        yield
    except EnrichError as error:
        told = failure(error, model)
        if told is error:
            raise
        raise told from error


def moderate(host: Host, pictures: Sequence[Picture], prompt: str | None, deadline: float) -> None:
    """Let the filters look at a request before any model does.

    Raises
    ------
    Blocked
        One of them refuses it. Not retryable.
    Internal
        One of them failed, and so nothing passes. Not retryable.
    """
    if not host.filters.bound or not pictures:
        return
    for outcome in host.filters.look([one.rendition for one in pictures], prompt, deadline=deadline):
        if isinstance(outcome, Skip):
            raise Blocked(f"a filter blocks it: {outcome.reason}", outcome.reason)
        if outcome is not None:
            raise failure(outcome, "") from outcome
