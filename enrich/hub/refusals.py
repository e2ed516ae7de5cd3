"""What the hub's client raises, in our words, which say what to do."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from typing import Any

from enrich.errors import ConfigError, EnrichError, FetchFailed, ModelMissing, UsageError
from enrich.hub.download import wished_seconds

__all__ = ["check_endpoint", "endpoint", "translated"]

_FORBIDDEN = (401, 403)
_TOO_MANY = 429
_SERVER = 500


@contextlib.contextmanager
def translated(hub: Any, what: str, revision: str, *, kept: str = "") -> Iterator[None]:
    """Raise our errors instead of the client's.

    Parameters
    ----------
    hub : module
        huggingface_hub.
    what : str
        What is asked for: ``hf:owner/name``, or an address.
    revision : str
        Of a repository.
    kept : str
        What is said of that which came so far, where the network fails.

    Raises
    ------
    ModelMissing
        It is not there, or may not be had. Not retryable.
    FetchFailed
        No answer, or a bad one; retryable where that may pass.
    ConfigError
        HF_TOKEN is none. Not retryable.
    OSError
        A file cannot be written.
    """
    errors, page = hub.errors, f"https://huggingface.co/{what.removeprefix('hf:')}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelMissing(
            f"{what} is gated: accept its terms at {page}, make a token that may read it "
            "(https://huggingface.co/settings/tokens), set it as HF_TOKEN and pull again"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelMissing(
            f"{what} has no revision {revision}, or not any more: see {page}/commits/main; without @revision "
            "the newest is taken"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelMissing(
            f"{what}: {endpoint(hub)} has no such repository, or it is private: check the name; for "
            "a private one set HF_TOKEN to a token that may read it"
        ) from error
    except errors.HFValidationError as error:
        raise UsageError(
            f"{what} is no repository: it is called hf:owner/name, or hf:owner/name@revision"
        ) from error
    except errors.HfHubHTTPError as error:
        raise _refused(hub, what, error) from error
    # The base of whatever the library's HTTP client raises, by the one name that it has in all its versions.
    except errors.HTTPError as error:
        raise _unreachable(hub, what, error, kept) from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelMissing(f"{what}: HF_HUB_OFFLINE forbids the network; unset it") from error
    # Of all that is said to the hub only the token is the user's own.
    except UnicodeEncodeError as error:
        raise ConfigError(
            "environment: HF_TOKEN: has characters that no token has: copy it again from "
            "https://huggingface.co/settings/tokens"
        ) from error


def check_endpoint(hub: Any) -> None:
    """Raise unless the hub has an address.

    Raises
    ------
    ConfigError
        HF_ENDPOINT is none. Not retryable.
    """
    try:
        address = urllib.parse.urlsplit(str(hub.constants.ENDPOINT))
        is_one = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # brackets that do not match, or a port that is no number
        is_one = False
    if not is_one:
        raise ConfigError("environment: HF_ENDPOINT: is no address of a hub, such as https://huggingface.co")


def endpoint(hub: Any) -> str:
    """Return the hub's address as it may be said: without a name and password in it."""
    address = urllib.parse.urlsplit(str(hub.constants.ENDPOINT))
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def _refused(hub: Any, what: str, error: Any) -> EnrichError:
    status = getattr(error.response, "status_code", None)
    if what.startswith("hf:") and status in _FORBIDDEN:
        return ModelMissing(
            f"{what}: {endpoint(hub)} refuses it ({status}): HF_TOKEN is missing or expired, or may "
            "not read it"
        )
    passes = status is None or status >= _SERVER or status == _TOO_MANY
    advice = "try again later" if passes else "it was moved, withdrawn or renamed"
    seconds = wished_seconds(error)
    if passes and seconds:
        advice = f"it wishes to be left alone for {seconds} seconds; try again then"
    return FetchFailed(f"{what}: answered with status {status}; {advice}", retryable=passes)


def _unreachable(hub: Any, what: str, error: Exception, kept: str) -> FetchFailed:
    whom = endpoint(hub) if what.startswith("hf:") else what
    reason = " ".join(str(error).split()) or type(error).__name__
    return FetchFailed(
        f"{whom} cannot be reached ({reason}); check the network, and HF_ENDPOINT if you use a mirror{kept}",
        retryable=True,
    )
