"""The state of the catalog in words and tables: what ``status`` shows, once or all the time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from enrich.cli.output import seconds, visible

__all__ = ["Section", "headline", "line", "sections"]

_JOB_STATES = ("pending", "running", "done", "skipped", "failed")


class Section(NamedTuple):
    """One table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def headline(status: Mapping[str, Any]) -> str:
    """Return how much there is, and whether all is paused."""
    counted = [f"{count} {state}" for state, count in sorted(status["files"].items()) if count]
    said = f"{status['assets']} assets; files: {', '.join(counted) or 'none'}"
    if status["paused_at"] is not None:
        said += f"\npaused since {status['paused_at']:%Y-%m-%d %H:%M:%S} UTC; go on with: enrich resume"
    return said


def sections(status: Mapping[str, Any], now: dt.datetime) -> list[Section]:
    """Return the tables of the steps and of the roots, where there are any."""
    found = []
    if status["steps"]:
        names = ["step", *_JOB_STATES, "stale"]
        rows = [[step[name] for name in names] for step in status["steps"]]
        if any(step["trouble"] for step in status["steps"]):
            names.append("trouble")
            rows = [[*row, _trouble(step)] for row, step in zip(rows, status["steps"], strict=True)]
        found.append(Section("steps", names, rows))
    if status["roots"]:
        columns = ("root", "state", "mode", "watches", "events seen", "lost", "rescued")
        rows = [_of_root(root, now) for root in status["roots"]]
        found.append(Section("roots", (*columns, "owner", "last scan", "last heard"), rows))
    return found


def line(status: Mapping[str, Any]) -> str:
    """Return the state in one line, without what changes by itself all the time."""
    files = ", ".join(f"{count} {state}" for state, count in sorted(status["files"].items()) if count)
    said = [f"{status['assets']} assets", f"files: {files or 'none'}"]
    for step in status["steps"]:
        counts = ", ".join(f"{step[state]} {state}" for state in _JOB_STATES if step[state])
        paused = "" if step["paused_until"] is None else ", paused"
        said.append(f"{step['step']}: {counts or 'nothing'}{paused}")
    said += [f"{root['path']} {_state(root)}" for root in status["roots"] if root["state"] != "online"]
    if status["paused_at"] is not None:
        said.append("paused")
    return visible("; ".join(said))


def _trouble(step: Mapping[str, Any]) -> str:
    until = step["paused_until"]
    return (step["trouble"] or "") + (f" (paused until {until:%H:%M:%S} UTC)" if until is not None else "")


def _of_root(root: Mapping[str, Any], now: dt.datetime) -> list[Any]:
    return [
        root["path"],
        _state(root),
        root["mode"],
        _watches(root),
        root["events_seen"],
        root["events_lost"],
        root["rescued"],
        _short(root["owner"]),
        _ago(root["scanned_at"], now),
        _ago(root["updated_at"], now),
    ]


def _state(root: Mapping[str, Any]) -> str:
    return f"{root['state']}: {root['reason']}" if root["reason"] else str(root["state"])


def _watches(root: Mapping[str, Any]) -> str:
    folders = "?" if root["folders"] is None else root["folders"]
    return f"- of {folders}" if root["watches"] is None else f"{root['watches']} of {folders}"


def _short(owner: str | None) -> str:
    """Return the host and process of a worker's name, which says more than people want to read."""
    if owner is None:
        return "nobody"
    host, *rest = owner.rsplit("/", 3)
    return f"{host} {rest[1]}" if len(rest) == 3 else owner


def _ago(moment: dt.datetime | None, now: dt.datetime) -> str:
    # Another machine's clock may be ahead of this one's.
    return "never" if moment is None else f"{seconds(max(0.0, (now - moment).total_seconds()))} ago"
