"""Logs on stderr: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
import threading
from typing import Any, TextIO

__all__ = ["FORMATS", "complain", "set_up_logging"]

FORMATS = ("text", "json")

log = logging.getLogger("enrich")


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is now: a progress bar puts itself in between."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # a plain attribute in the base class
        return sys.stderr


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        from enrich.cli.output import visible

        return visible(super().format(record), keep="\n\t")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json

        at = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        said: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "thread": record.threadName,
        }
        # A line about an HTTP request has fields of its own.
        said.update(getattr(record, "fields", {}))
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        # ASCII only, so that no control character of a file's name reaches a terminal. Bytes of a
        # name that are no text would be half of a pair, which strict readers refuse.
        whole = {key: _whole(value) if isinstance(value, str) else value for key, value in said.items()}
        return json.dumps(whole, default=str)


def set_up_logging(verbosity: int, log_format: str = "text") -> None:
    """Log to stderr: warnings, or more with -v and -vv."""
    level = {-1: logging.CRITICAL, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    handler = _Stderr()
    if log_format == "json":
        handler.setFormatter(_Json())
        _take_in_others(handler)
    else:
        handler.setFormatter(_Visible("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(level)
    if os.environ.get("ENRICH_TRACE", "") not in ("", "0"):
        logging.getLogger("enrich.host").setLevel(logging.INFO)


def complain(text: str) -> None:
    """Say on stderr why a command ends, in the format that its logs have."""
    if any(isinstance(handler.formatter, _Json) for handler in log.handlers):
        log.critical("%s", text)
        return
    import click

    from enrich.cli.output import visible

    click.echo(f"enrich: {visible(text)}", err=True)


def _take_in_others(handler: logging.Handler) -> None:
    """Let other libraries' logs, Python's warnings and what nobody caught be JSON as well."""
    everybody = logging.getLogger()
    everybody.handlers[:] = [*(one for one in everybody.handlers if not isinstance(one, _Stderr)), handler]
    logging.captureWarnings(True)

    def not_caught_in_thread(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
            log.critical("not caught", exc_info=failure.exc_value)

    sys.excepthook = lambda kind, error, trace: log.critical("not caught", exc_info=error)
    threading.excepthook = not_caught_in_thread


def _whole(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
