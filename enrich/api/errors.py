"""Why a request is refused or failed, one class for each cause; each dialect puts it into its own words.

    ApiError
    ├── NotAuthorized              no key was given
    ├── InvalidKey                 a key that is not, or no longer, known
    ├── NotAllowed                 a known key without the scope
    ├── TooManyRequests            over the key's limits             retryable
    ├── InsufficientCredits
    ├── InvalidParameter           a field is missing or wrong
    │   ├── UnknownModel
    │   └── LanguageNotPossible    the model cannot, or did not, say it in the language asked for
    ├── NotFound                   no such task, upload or asset of this key
    ├── TooLarge                   more bytes or pixels than are taken
    ├── InvalidImage               the bytes are no picture that can be read
    ├── ImageNotFetched            its URL gave nothing
    ├── Blocked                    a filter refused the picture or the prompt
    ├── Busy                       the queue is full                 retryable
    ├── TimedOut                   the deadline passed               retryable
    ├── Cancelled                  the client went away
    └── Internal                   our fault; the log says more

A message is for the client: one line, without secrets, paths or the names of other people's things.
``status`` is the HTTP status where a dialect has none of its own.
"""

from __future__ import annotations

from typing import ClassVar

from enrich.errors import EnrichError

__all__ = [
    "ApiError",
    "Blocked",
    "Busy",
    "Cancelled",
    "ImageNotFetched",
    "InsufficientCredits",
    "Internal",
    "InvalidImage",
    "InvalidKey",
    "InvalidParameter",
    "LanguageNotPossible",
    "NotAllowed",
    "NotAuthorized",
    "NotFound",
    "TimedOut",
    "TooLarge",
    "TooManyRequests",
    "UnknownModel",
]


class ApiError(EnrichError):
    """A request was refused or failed."""

    kind = "api"
    status: ClassVar[int] = 500
    #: The field of the request that is to blame, where one is.
    parameter: str | None = None


class NotAuthorized(ApiError):
    """No key was given where one is needed."""

    kind = "not_authorized"
    status = 401


class InvalidKey(ApiError):
    """The key is not known, or was revoked."""

    kind = "invalid_key"
    status = 401


class NotAllowed(ApiError):
    """The key is known and has not the scope that this takes."""

    kind = "not_allowed"
    status = 403


class TooManyRequests(ApiError):
    """The key's limit is reached; it may be tried again after ``retry_after_seconds``."""

    kind = "too_many_requests"
    status = 429
    retryable = True

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class InsufficientCredits(ApiError):
    """The key's credits do not suffice."""

    kind = "insufficient_credits"
    status = 402


class InvalidParameter(ApiError):
    """A field of the request is missing or wrong; ``parameter`` names it where it is known."""

    kind = "invalid_parameter"
    status = 400

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class UnknownModel(InvalidParameter):
    """No model of that name is offered, or it cannot do what is asked."""

    kind = "unknown_model"
    status = 404

    def __init__(self, message: str, parameter: str | None = "model") -> None:
        super().__init__(message, parameter)


class LanguageNotPossible(InvalidParameter):
    """The model does not know the language, or twice answered in another one."""

    kind = "language_not_possible"
    status = 422

    def __init__(self, message: str, parameter: str | None = "lang") -> None:
        super().__init__(message, parameter)


class NotFound(ApiError):
    """There is nothing by that name, or it is another key's: which of them is not said."""

    kind = "not_found"
    status = 404


class TooLarge(ApiError):
    """More bytes or pixels than are taken."""

    kind = "too_large"
    status = 413


class InvalidImage(ApiError):
    """The bytes are no picture, of no type that is taken, or damaged."""

    kind = "invalid_image"
    status = 415


class ImageNotFetched(ApiError):
    """The picture's URL is refused, or gave nothing."""

    kind = "image_not_fetched"
    status = 422


class Blocked(ApiError):
    """A filter refused the picture or the prompt; ``reason`` is the filter's own word for why."""

    kind = "blocked"
    status = 422

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Busy(ApiError):
    """As much waits as is let in; it may be tried again after ``retry_after_seconds``."""

    kind = "busy"
    status = 503
    retryable = True

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TimedOut(ApiError):
    """The deadline passed before the answer was there."""

    kind = "timed_out"
    status = 504
    retryable = True


class Cancelled(ApiError):
    """The client went away, and its work was given up; nobody sees this."""

    kind = "cancelled"
    status = 499


class Internal(ApiError):
    """Something of ours failed; what, is in the log by the request's id."""

    kind = "internal"
    status = 500
