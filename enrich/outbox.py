"""Deliveries between the catalog, which keeps them, the observers, who hand them over, and the courier."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enrich.catalog import current, deliveries
from enrich.catalog.engine import translated
from enrich.errors import ConfigError, FetchRefused
from enrich.outbound import AllowList, Courier, Delivery, Poster, check_url
from enrich.types import Webhook

if TYPE_CHECKING:
    import sqlalchemy as sa

    from enrich.catalog.writer import Writer
    from enrich.settings import Settings

__all__ = ["CatalogDeliveries", "CatalogOutbox", "make_courier"]

log = logging.getLogger(__name__)

#: How long a delivery that has ended is remembered, and how often the older ones are looked for.
KEPT = dt.timedelta(days=7)
EXPIRE_SECONDS = 3600.0


def make_courier(settings: Settings, engine: sa.Engine, writer: Writer) -> Courier:
    """Return a courier for the catalog's deliveries, not started.

    Signs with ``ENRICH_WEBHOOK_SECRET``.

    Raises
    ------
    ConfigError
        An entry of ``api.allow_hosts`` is no host. Not retryable.
    """
    try:
        AllowList(settings.api.allow_hosts)
    except ValueError as error:
        raise ConfigError(f"api.allow_hosts: {error}") from error
    poster = Poster(settings.api.allow_hosts, os.environ.get("ENRICH_WEBHOOK_SECRET") or None)
    return Courier(CatalogDeliveries(engine, writer), poster.post)


class CatalogDeliveries:
    """The catalog's deliveries, as a courier takes them.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Is asked whether anything is due, which costs no lock.
    writer : Writer
        Writes the rest.
    """

    def __init__(self, engine: sa.Engine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer
        self._expire_at = time.monotonic()

    def claim(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
        if time.monotonic() >= self._expire_at:
            self._expire_at = time.monotonic() + EXPIRE_SECONDS
            before = _now() - KEPT
            self._writer.write(lambda connection: deliveries.expire(connection, before))
        now = _now()
        with translated(), self._engine.connect() as connection:
            next_at = deliveries.next_at(connection)
        if next_at is None or next_at > now:
            return []
        return self._writer.write(
            lambda connection: deliveries.claim(connection, limit=limit, now=now, lease_seconds=lease_seconds)
        )

    def delivered(self, delivery: Delivery) -> None:
        self._writer.write(
            lambda connection: deliveries.delivered(connection, delivery.id, delivery.attempts, _now())
        )

    def later(self, delivery: Delivery, next_at: dt.datetime, error: str) -> None:
        self._writer.write(
            lambda connection: deliveries.later(connection, delivery.id, delivery.attempts, next_at, error)
        )

    def given_up(self, delivery: Delivery, error: str) -> None:
        self._writer.write(
            lambda connection: deliveries.given_up(connection, delivery.id, delivery.attempts, _now(), error)
        )


class CatalogOutbox:
    """What observers hand deliveries over to.

    Parameters
    ----------
    settings : Settings
        Says who wants to be told, and which hosts are open.
    engine : sqlalchemy.Engine
        The catalog.
    writer : Writer
        Its writer.
    courier : Courier
        Is woken by each delivery.

    Raises
    ------
    ConfigError
        An entry of ``webhooks`` names no step, or a URL that nothing will ever be posted to. Not
        retryable.
    """

    def __init__(self, settings: Settings, engine: sa.Engine, writer: Writer, courier: Courier) -> None:
        self.webhooks = tuple(_checked(settings, index) for index in range(len(settings.webhooks)))
        self._allowed = AllowList(settings.api.allow_hosts)
        self._engine = engine
        self._writer = writer
        self._courier = courier

    def about(self, asset_id: int, step: str) -> Mapping[str, Any] | None:
        with translated(), self._engine.connect() as connection:
            return current.about(connection, asset_id, step)

    def deliver(self, url: str, body: Mapping[str, Any], *, asset_id: int | None = None) -> None:
        check_url(url, self._allowed)
        text = json.dumps(body, ensure_ascii=False)
        now = _now()
        # Not urgent: a thousand of them are one commit, and the courier finds what it was not woken for.
        self._writer.submit(
            lambda connection: deliveries.add(connection, url=url, body=text, now=now, asset_id=asset_id)
        ).add_done_callback(self._handed_over)

    def _handed_over(self, future: concurrent.futures.Future[int]) -> None:
        error = future.exception()
        if error is not None:
            log.warning("a delivery could not be kept: %s", error)
        else:
            self._courier.wake()


def _checked(settings: Settings, index: int) -> Webhook:
    hook = settings.webhooks[index]
    try:
        check_url(hook.url, settings.api.allow_hosts)
    except FetchRefused as error:
        raise ConfigError(f"webhooks.{index}.url: {error}") from error
    unknown = [step for step in hook.steps if step not in settings.steps]
    if unknown:
        raise ConfigError(
            f"webhooks.{index}.steps: no step {unknown[0]}; the steps are: {', '.join(settings.steps)}"
        )
    return Webhook(hook.url, hook.events, hook.steps)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
