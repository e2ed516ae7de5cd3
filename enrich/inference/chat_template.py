"""A conversation as the text its model was trained on, by the chat template of the model's own files.

What people say never goes through the template: it is rendered with unguessable marks in its place, so
that in the result it is known, character by character, which text is the template's and which is
somebody's.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich.errors import ExtraMissing, ManifestError, UsageError
from enrich.inference.manifest import read_json
from enrich.inference.stored import StoredModel
from enrich.types import Turn

__all__ = ["ChatTemplate", "Segment", "read_chat_template"]

#: Published ones have up to 20,000 characters.
TEMPLATE_MAX = 100_000
_TEMPLATE_NAMES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
_TOKENS_NAMES = ("special_tokens_map.json", "tokenizer_config.json")
_DEFAULT = "default"
#: A space that templates trim, and none writes: whether it is still there tells what was trimmed.
_TRIMMED = "\u205f"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt.

    Parameters
    ----------
    text : str
        What it says.
    is_said : bool
        Whether somebody said it; else it is the template's own.
    """

    text: str
    is_said: bool


class ChatTemplate:
    """Renders conversations, from any thread.

    Parameters
    ----------
    source : str
        The template.
    path : Path
        Where it stands, for messages.
    tokens : mapping of str to str
        What it may know of the tokenizer: ``bos_token`` and so on.
    name : str
        The model's, for messages.

    Raises
    ------
    ExtraMissing
        jinja2 is not installed.
    ManifestError
        It is no template, or too long.

    None of them is retryable.
    """

    def __init__(self, source: str, path: Path, tokens: Mapping[str, str], name: str) -> None:
        if len(source) > TEMPLATE_MAX:
            raise ManifestError(f"{path}: the chat template has more than {TEMPLATE_MAX} characters")
        self._path, self._tokens, self._name = path, dict(tokens), name
        sandbox, self._own_error = _sandbox()
        self._sandbox = sandbox
        try:
            self._code = sandbox.compile_source(source)
        # Jinja compiles to Python, which has refusals of its own (a nesting too deep).
        except Exception as error:
            raise ManifestError(f"{path}: is no chat template: {_one_line(error)}") from error

    @property
    def bos(self) -> str | None:
        """The token that starts a text; a template may write it itself."""
        return self._tokens.get("bos_token")

    def render(self, turns: Sequence[Turn]) -> list[Segment]:
        """Return a conversation as text, up to where the model goes on.

        Raises
        ------
        UsageError
            The template refuses it: the roles are not in its order, or one is unknown to it. Not
            retryable.
        ManifestError
            The template fails, or takes more than its share of time and memory. Not retryable.
        """
        marks = _Marks()
        messages = [
            {"role": turn.role, "content": [_part(one, marks) for one in turn.content]} for turn in turns
        ]
        values = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True}
        try:
            text = self._sandbox.render(self._code, self._tokens | values)
        # Whatever it raises is the template's; what it says itself is about the conversation.
        except Exception as error:
            if type(error) is self._own_error:
                raise UsageError(
                    f"the model {self._name} refuses the conversation: {_one_line(error)}"
                ) from None
            raise ManifestError(f"{self._path}: the chat template fails: {_one_line(error)}") from error
        return marks.segments(text)


class _Marks:
    """What stands for texts while the template works."""

    def __init__(self) -> None:
        self._key = secrets.token_hex(16)
        self._texts: list[str] = []

    def mark(self, text: str) -> str:
        if not text:
            return text
        self._texts.append(text)
        return f"{_TRIMMED}{self._key}.{len(self._texts) - 1}.{_TRIMMED}"

    def segments(self, rendered: str) -> list[Segment]:
        pattern = re.compile(rf"({_TRIMMED}?){self._key}\.(\d+)\.({_TRIMMED}?)")
        segments: list[Segment] = []
        end = 0
        for match in pattern.finditer(rendered):
            text = self._texts[int(match[2])]
            # Trimmed where the template trimmed the mark.
            text = text if match[1] else text.lstrip()
            text = text if match[3] else text.rstrip()
            segments += (Segment(rendered[end : match.start()], False), Segment(text, True))
            end = match.end()
        segments.append(Segment(rendered[end:], False))
        return [segment for segment in segments if segment.text]


def read_chat_template(model: StoredModel) -> ChatTemplate:
    """Find a model's chat template: a file of its own, or in tokenizer_config.json.

    Raises
    ------
    ExtraMissing, ManifestError
        As ``ChatTemplate`` does; or there is none. Not retryable.
    """
    for name in _TEMPLATE_NAMES:
        path = model.file(name)
        source = None if path is None else _source(path)
        if path is not None and source is not None:
            return ChatTemplate(source, path, _tokens(model), model.name)
    raise ManifestError(
        f"{model.folder}: there is no chat template; copy chat_template.jinja (or chat_template.json) from "
        "where the weights come from"
    )


def _source(path: Path) -> str | None:
    if path.suffix == ".jinja":
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}: cannot be read: {error}") from error
    said = read_json(path).get("chat_template")
    if isinstance(said, list):
        # Several by name; the others are for tools.
        said = {str(one.get("name")): one.get("template") for one in said if isinstance(one, dict)}
    if isinstance(said, dict):
        said = said.get(_DEFAULT)
    return said if isinstance(said, str) else None


def _tokens(model: StoredModel) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for name in _TOKENS_NAMES:
        path = model.file(name)
        values = {} if path is None else read_json(path)
        more = values.get("extra_special_tokens")
        for key, said in {**(more if isinstance(more, dict) else {}), **values}.items():
            token = said.get("content") if isinstance(said, dict) else said
            if key.endswith("_token") and isinstance(token, str):
                tokens[key] = token
    return tokens


def _part(one: Any, marks: _Marks) -> dict[str, str]:
    return {"type": "text", "text": marks.mark(one)} if isinstance(one, str) else {"type": "image"}


def _sandbox() -> tuple[Any, type[Exception]]:
    try:
        from jinja2 import TemplateError

        from enrich.inference.template_sandbox import TemplateSandbox
    except ImportError as error:
        raise ExtraMissing(
            "models that converse need jinja2: pip install 'enrich-dam[cpu]' (NVIDIA: [gpu], "
            "Intel: [openvino])"
        ) from error
    return TemplateSandbox(), TemplateError


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
