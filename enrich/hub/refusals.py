"""What the hub's client raises, in our words, which say what to do."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from typing import Any

from enrich.errors import EnrichError, FetchFailed, ModelMissing, UsageError

__all__ = ["endpoint", "translated"]

_FORBIDDEN = (401, 403)
_TOO_MANY = 429
_SERVER = 500


@contextlib.contextmanager
def translated(hub: Any, what: str, revision: str) -> Iterator[None]:
    """Raise our errors instead of the client's.

    Parameters
    ----------
    hub : module
        huggingface_hub.
    what : str
        What is asked for: ``hf:owner/name``, or an address.
    revision : str
        Of a repository.

    Raises
    ------
    ModelMissing
        It is not there, or may not be had. Not retryable.
    FetchFailed
        No answer, or a bad one; retryable where that may pass.
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
        raise _unreachable(hub, what, error) from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelMissing(f"{what}: HF_HUB_OFFLINE forbids the network; unset it") from error
    except OSError as error:
        if error.errno is not None:
            raise
        # The client's own word for a file that ended too soon.
        raise FetchFailed(f"{what}: a file came incomplete; pull again", retryable=True) from error


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
    return FetchFailed(f"{what}: answered with status {status}; {advice}", retryable=passes)


def _unreachable(hub: Any, what: str, error: Exception) -> FetchFailed:
    whom = endpoint(hub) if what.startswith("hf:") else what
    reason = " ".join(str(error).split()) or type(error).__name__
    return FetchFailed(
        f"{whom} cannot be reached ({reason}); check the network, and HF_ENDPOINT if you use a mirror; what "
        "came so far is kept, and pulling again goes on from there",
        retryable=True,
    )
