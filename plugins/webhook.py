"""Tells the webhooks of config.yaml of new assets, and of steps that were done on them.

An observer, no step: it posts nothing by itself, but hands over what the courier posts.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import enrich

__all__ = ["enrich_annotated", "enrich_asset_ingested"]


@enrich.hookimpl
def enrich_asset_ingested(asset_id: int, path: Path, outbox: enrich.Outbox) -> None:
    """Hand over a delivery to each webhook that wants to know of new assets."""
    # Bytes that are no text cannot stand in JSON: they are shown as question marks.
    shown = str(path).encode(errors="replace").decode()
    for webhook in outbox.webhooks:
        if webhook.wants("ingested"):
            body = {"event": "ingested", "at": _now(), "asset_id": asset_id, "path": shown}
            outbox.deliver(webhook.url, body, asset_id=asset_id)


@enrich.hookimpl
def enrich_annotated(asset_id: int, step: str, outbox: enrich.Outbox) -> None:
    """Hand over a delivery to each webhook that wants to know of this step."""
    wanting = [webhook for webhook in outbox.webhooks if webhook.wants("annotated", step)]
    about = outbox.about(asset_id, step) if wanting else None
    if about is not None:  # else it was forgotten meanwhile
        body = {"event": "annotated", "at": _now(), "asset_id": asset_id, "step": step, **about}
        for webhook in wanting:
            outbox.deliver(webhook.url, body, asset_id=asset_id)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
