"""One webhook: how it is signed, and one try to post it.

A receiver computes HMAC-SHA256 with the shared secret over the header's ``t``, a dot and the body as it came,
and compares it with ``v1`` in constant time; a ``t`` of long ago is somebody's replay.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import ssl
import time
from collections.abc import Callable, Iterable

from enrich.outbound.allowlist import AllowList
from enrich.outbound.connections import Dialler
from enrich.outbound.deadline import Deadline
from enrich.outbound.exchange import exchange
from enrich.outbound.names import LookUp, look_up
from enrich.outbound.targets import parse

__all__ = ["DELIVERY_HEADER", "SIGNATURE_HEADER", "Poster", "sign"]

log = logging.getLogger(__name__)

SIGNATURE_HEADER = "X-Enrich-Signature"
DELIVERY_HEADER = "X-Enrich-Delivery"

#: A receiver that has not answered by then is asked again later; it should take note first and work then.
TOTAL_SECONDS = 10.0
CONNECT_SECONDS = 5.0


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of the signature's header.

    Parameters
    ----------
    secret : str
        Known to the sender and the receiver.
    timestamp : int
        Seconds since 1970.
    body : bytes
        As it is sent.
    """
    digest = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256)
    return f"t={timestamp},v1={digest.hexdigest()}"


class Poster:
    """Posts bodies, signed, to public addresses and what config.yaml opens; follows no redirect.

    Parameters
    ----------
    allow_hosts : iterable of str
        See ``AllowList``.
    secret : str or None
        Signs; None: unsigned.
    total_seconds : float
        How long one try may take.
    ask : callable
        Looks a name up.
    context : ssl.SSLContext or None
        How certificates are checked; None: as the system does.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        allow_hosts: Iterable[str] = (),
        secret: str | None = None,
        *,
        total_seconds: float = TOTAL_SECONDS,
        ask: LookUp = look_up,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._total_seconds = total_seconds
        self._dialler = Dialler(
            AllowList(allow_hosts), connect_seconds=CONNECT_SECONDS, ask=ask, context=context
        )
        self._clock = clock
        self._is_said = False

    def post(self, url: str, body: str, delivery_id: int) -> int:
        """Post a JSON body once; return the status that was answered, whatever it is.

        Raises
        ------
        FetchRefused
            The URL or its address is not to be used. Not retryable.
        FetchFailed
            There was no answer. Retryable.
        """
        target = parse(url)
        content = body.encode()
        headers = {"Content-Type": "application/json", DELIVERY_HEADER: str(delivery_id)}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = sign(self._secret, int(self._clock()), content)
        elif not self._is_said:
            self._is_said = True
            log.warning("webhooks are posted without a signature: ENRICH_WEBHOOK_SECRET is not set")
        deadline = Deadline(self._total_seconds)
        with exchange(
            self._dialler, target, deadline, method="POST", headers=headers, body=content
        ) as response:
            return response.status
