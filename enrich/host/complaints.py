"""What plugins do wrong, as the one line that says what to mend; and the trace of their calls."""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
import os
import re
import reprlib
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pluggy

from enrich import hookspecs

__all__ = ["mend", "said", "trace_after", "trace_before"]

log = logging.getLogger("enrich.host")

#: The folders of what only calls a plugin: the import system and pluggy.
_MACHINERY = tuple(
    os.path.join(os.path.dirname(inspect.getfile(module)), "") for module in (importlib, pluggy)
)

#: Enrich's own modules; its plugins stand elsewhere.
_OWN = (Path(__file__).parent, Path(__file__).parents[1])


def said(error: BaseException) -> str:
    """Return an exception as one line, with the last place of it that is the plugin's own."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)
    ]
    if isinstance(error, SyntaxError):
        frames = []  # its text names the place
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{where}" if text else f"{type(error).__name__}{where}"


def _is_machinery(file_name: str) -> bool:
    """Whether a file only called the plugin: enrich's own modules (not its plugins), pluggy, the import."""
    return file_name.startswith(("<", *_MACHINERY)) or Path(file_name).parent in _OWN


def mend(error: Exception) -> str:
    """Turn pluggy's complaint into the line that says what to mend."""
    text = " ".join(str(error).split())
    if text.startswith("unknown hook"):
        name = text.split("'")[1]
        # Without the prefix, which would make all names alike.
        words = [hook.removeprefix("enrich_") for hook in _hook_names()]
        near = difflib.get_close_matches(name.removeprefix("enrich_"), words, 1)
        hint = f"did you mean enrich_{near[0]}?" if near else f"the hooks are: {', '.join(_hook_names())}"
        return f"there is no hook {name}; {hint}"
    if unknown := re.search(r"for hook '(\w+)'.*Argument\(s\) \{(.*?)\} are declared", text):
        offered = ", ".join(inspect.signature(getattr(hookspecs, unknown[1])).parameters) or "none"
        return f"{unknown[1]} is offered no argument {unknown[2]}; the arguments are: {offered}"
    return text


def _hook_names() -> list[str]:
    return sorted(name for name in vars(hookspecs) if name.startswith("enrich_"))


def trace_before(hook: str, impls: Sequence[Any], arguments: Mapping[str, Any]) -> None:
    """Log a hook call that begins."""
    shown = ", ".join(f"{name}={reprlib.repr(value)}" for name, value in arguments.items())
    names = ", ".join(impl.plugin_name for impl in impls)
    log.info("trace: %s(%s) -> %s", hook, shown, names)


def trace_after(
    outcome: pluggy.Result[Any], hook: str, impls: Sequence[Any], arguments: Mapping[str, Any]
) -> None:
    """Log what a hook call came to."""
    if outcome.exception is not None:
        log.info("trace: %s raised %s", hook, said(outcome.exception))
    else:
        log.info("trace: %s returned %s", hook, reprlib.repr(outcome.get_result()))
