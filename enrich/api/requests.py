"""What all dialects say alike: pictures, what is asked of them, and the reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from enrich.types import Decoding, Rendition

__all__ = ["MAX_PICTURES", "Ask", "Caller", "Chat", "Kind", "Length", "Picture", "Reply", "Turn"]

#: How many pictures a message may have, and how many different ones a conversation.
MAX_PICTURES = 16

Kind = Literal["caption", "answer", "age", "tag", "text", "phrases"]
Length = Literal["short", "normal", "long", "alt_text"]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture that a client sent or named, sniffed, hashed and decoded.

    Parameters
    ----------
    rendition : Rendition
        Its first page, as large as most steps want it.
    sha256, sha1 : str
        Of the bytes, hexadecimal.
    image_hash : str
        The picture's identity (see ``assets.image_hash``).
    media_type : str
        By content.
    file_name : str
        As the client or the URL called it, cleaned; for people only, never a path of ours.
    size_bytes : int
        Of the bytes.
    path : Path
        Where the bytes are, under a name of our own; gone once the request ends, unless stored.
    asset_id : int or None
        Where it was named by the id of an asset.
    """

    rendition: Rendition
    sha256: str
    sha1: str
    image_hash: str
    media_type: str
    file_name: str
    size_bytes: int
    path: Path
    asset_id: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Without any key configured it is nobody in particular, who may do everything.

    Parameters
    ----------
    key_id : int or None
        The key's row; None without keys.
    name : str
        The key's name, for logs and metrics.
    scopes : frozenset of str
        ``"infer"``, ``"read"``.
    minute_limit, hour_limit : int or None
        The key's own limits; None: those of config.yaml.
    """

    key_id: int | None = None
    name: str = "local"
    scopes: frozenset[str] = frozenset({"infer", "read"})
    minute_limit: int | None = None
    hour_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One question about one or several pictures.

    Parameters
    ----------
    kind : str
        What is wanted: ``caption`` without a prompt of one's own or with it, ``answer`` to ``prompt``,
        ``age``, ``tag`` (the model's labels), ``text`` (what is written in it), ``phrases`` (which of
        ``options["phrases"]`` fits best).
    pictures : tuple of Picture
        At least one.
    model : str or None
        A model of the model store; None: the configured default. ``text`` needs none.
    prompt : str or None
        The question, or the words that ask for the caption.
    length : str
        How much is said.
    language : str or None
        What the reply must be in (BCP 47), checked. None: captions are English, and of answers to a
        prompt nothing is said: they come in the language they are asked in.
    decoding : Decoding
        How words are chosen.
    keep : bool or None
        Whether picture and answer go into the catalog; None: as configured.
    deadline : float or None
        The ``time.monotonic()`` instant after which nobody waits; None: as configured.
    dialect : str
        For logs, metrics and the usage of keys.
    caller : Caller
        Who asks.
    options : mapping
        The plugin's own options (``threshold``, ``limit``, ...), and ``phrases``.
    request_id : str
        For logs.
    """

    kind: Kind
    pictures: tuple[Picture, ...]
    model: str | None = None
    prompt: str | None = None
    length: Length = "normal"
    language: str | None = None
    decoding: Decoding = field(default_factory=Decoding)
    keep: bool | None = None
    deadline: float | None = None
    dialect: str = ""
    caller: Caller = field(default_factory=Caller)
    options: Mapping[str, Any] = field(default_factory=dict)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation.

    Parameters
    ----------
    role : {"system", "user", "assistant"}
        Who says it.
    text : str
        All words of it.
    pictures : tuple of Picture
        All pictures of it.
    parts : tuple of str or Picture
        Both in the order in which they stand; empty: the pictures come first.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    pictures: tuple[Picture, ...] = ()
    parts: tuple[str | Picture, ...] = ()

    @property
    def content(self) -> tuple[str | Picture, ...]:
        """Words and pictures in their order."""
        return self.parts or (*self.pictures, self.text)


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation that the model goes on with.

    Parameters
    ----------
    turns : tuple of Turn
        In order; the last one is a user's.
    model : str or None
        A model of the model store; None: the configured default.
    decoding : Decoding
        How words are chosen, with ``max_tokens``, ``temperature``, ``top_p``, ``seed`` and ``stop``.
    json_schema : mapping or None
        What the answer must be like as JSON; an empty mapping: any JSON object. None: words.
    is_strict : bool
        The schema must be kept: what was not said is an error where it must not be null.
    deadline, caller, request_id
        As of an ``Ask``.
    """

    turns: tuple[Turn, ...]
    model: str | None = None
    decoding: Decoding = field(default_factory=Decoding)
    json_schema: Mapping[str, Any] | None = None
    is_strict: bool = False
    deadline: float | None = None
    dialect: str = "openai"
    caller: Caller = field(default_factory=Caller)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of an ``Ask`` or a ``Chat``.

    Parameters
    ----------
    text : str or None
        The words; None where the model has structured data only (``age``).
    data : mapping or None
        ``age``: ``{"ageGroup", "confidence"}``, confidence 0..1; ``tag``, ``phrases``: ``{"tags": [{"name",
        "confidence"}]}``, best first; ``text``: ``{"lines": [...]}``; else None.
    language : str or None
        Of the text, where it was asked for.
    model : str
        Which model said it; empty where the plugin brings its own.
    prompt_tokens, completion_tokens : int
        Read and made; 0 for models without words.
    finish : {"stop", "length"}
        Whether it came to an end by itself or by its budget.
    cost : float
        In USD, as configured for the model.
    is_cached : bool
        It was in the catalog already.
    elapsed_ms : float
        What it took.
    """

    text: str | None
    data: Mapping[str, Any] | None
    language: str | None
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: Literal["stop", "length"] = "stop"
    cost: float = 0.0
    is_cached: bool = False
    elapsed_ms: float = 0.0
