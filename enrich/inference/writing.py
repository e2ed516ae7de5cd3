"""One request as it is written: how its next tokens are chosen, when it ends, and what it says so far."""

from __future__ import annotations

import abc
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from enrich.errors import InferenceError
from enrich.inference.beams import Advance, BeamSearch
from enrich.inference.choices import ChoiceSearch
from enrich.inference.rules import Rules
from enrich.inference.sampling import draw, shape
from enrich.inference.text import TextStream, Tokenizer
from enrich.types import Decoding, Generated

__all__ = ["Ending", "Request", "States", "Writing", "start_writing"]


class States(Protocol):
    """What a text is written in view of: an encoder's states, or a joint decoder's ``Scene``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """What those that are read in together have in common."""
        ...


@dataclass(frozen=True, slots=True)
class Ending:
    """What a model's own files say of how its texts end.

    Parameters
    ----------
    tokens : tuple of int
        The end tokens; none: only the budget ends a text.
    length_penalty, early_stopping
        As for ``BeamSearch``.
    beams : int
        How many sequences are kept where a request does not say.
    rules : Rules
        What must and must not be said on the way there.
    """

    tokens: tuple[int, ...]
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    beams: int = 1
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    """One text that is wanted.

    Parameters
    ----------
    ids : tuple of int
        What the decoder reads first; at least one.
    states : States
        What the decoder writes in view of, of the kind that it takes: of an encoder-decoder float32, (T, D),
        the encoder's states of the picture.
    max_tokens : int
        The budget.
    decoding : Decoding
        How words are chosen; its own ``max_tokens`` does not count here.
    deadline : float or None
        The ``time.monotonic()`` instant after which nobody wants the text.
    interactive : bool
        Somebody waits.
    on_text : callable or None
        Called with each piece of text as it is made.
    cancel : threading.Event or None
        Set when nobody wants the text any more.
    """

    ids: tuple[int, ...]
    states: States
    max_tokens: int
    decoding: Decoding = field(default_factory=Decoding)
    deadline: float | None = None
    interactive: bool = False
    on_text: Callable[[str], None] | None = None
    cancel: threading.Event | None = None


class Writing(abc.ABC):
    """The state of one request between two runs of the decoder.

    Parameters
    ----------
    request : Request
        What is wanted.
    tokenizer : Tokenizer
        The model's.
    ending : Ending
        How its texts end.
    """

    #: Rows of a run that it takes, after the first one, which has one row.
    rows: int = 1
    #: The most rows that it will take, which are kept free for it.
    rows_max: int = 1

    def __init__(self, request: Request, tokenizer: Tokenizer, ending: Ending) -> None:
        self._request = request
        self._decoding = request.decoding
        self._rules = ending.rules
        self._stream = TextStream(tokenizer, request.decoding.stop)
        self._is_read = request.on_text is not None or bool(request.decoding.stop)

    @abc.abstractmethod
    def advance(self, logits: NDArray[np.float32], logs: NDArray[np.float32]) -> Advance | None:
        """Choose the next tokens, or end.

        Parameters
        ----------
        logits : ndarray
            float32, (R, V), after the last token of each row; one row the first time.
        logs : ndarray
            float32, (R, V): their ``log_probabilities``, made for all rows of the run at once.

        Raises
        ------
        InferenceError
            They are not finite. Not retryable.
        """

    @abc.abstractmethod
    def finish(self) -> Generated:
        """Return what was written; once, when ``advance`` has returned None."""

    def _check(self, logs: NDArray[np.float32]) -> None:
        if np.isnan(logs).any():
            raise InferenceError(
                "the decoder's logits are not finite; a graph in float16 may have overflowed: try the "
                "float32 one"
            )

    def _ruled(
        self, scores: NDArray[np.float32], logs: NDArray[np.float32], said: NDArray[np.int64], made: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the scores by the model's own rules, and the logarithms beside them."""
        ruled = self._rules.apply(scores, said, made, self._request.max_tokens)
        # What is prescribed says nothing of how sure the model is.
        return ruled, logs if self._rules.forced(made, self._request.max_tokens) is None else ruled

    def _is_cut(self, made: int) -> bool:
        """Tell whether a text of so many tokens, its end among them, only ended because it had to."""
        return self._rules.last is not None and made >= self._request.max_tokens

    def _tell(self, piece: str) -> None:
        if piece and self._request.on_text is not None:
            self._request.on_text(piece)

    def _generated(self, tokens: int, log_probability: float, *, is_ended: bool) -> Generated:
        self._tell(self._stream.finish())
        return Generated(
            self._stream.text,
            "stop" if is_ended or self._stream.is_stopped else "length",
            prompt_tokens=len(self._request.ids),
            tokens=tokens,
            confidence=math.exp(log_probability / tokens) if tokens else None,
        )


class _OneByOne(Writing):
    """The likeliest token each time, or a drawn one."""

    def __init__(self, request: Request, tokenizer: Tokenizer, ending: Ending) -> None:
        super().__init__(request, tokenizer, ending)
        self._ends = frozenset(ending.tokens)
        self._rng = _rng(request.decoding)
        self._said = list(request.ids)
        self._made = 0
        self._log_probability = 0.0
        self._is_ended = False

    def advance(self, logits: NDArray[np.float32], logs: NDArray[np.float32]) -> Advance | None:
        self._check(logs)
        said = np.asarray([self._said], np.int64)
        logits, logs = self._ruled(logits, logs, said, self._made)
        (shaped,) = shape(logits, said, self._decoding)
        token = int(shaped.argmax()) if self._rng is None else draw(shaped, self._rng)
        if token in self._ends:
            self._is_ended = not self._is_cut(self._made + 1)
            return None
        self._said.append(token)
        self._made += 1
        self._log_probability += float(logs[0, token])
        if self._is_read:
            self._tell(self._stream.feed(token))
        else:
            self._stream.hold(token)
        if self._stream.is_stopped or self._made >= self._request.max_tokens:
            return None
        return Advance((token,), (0,))

    def finish(self) -> Generated:
        return self._generated(self._made, self._log_probability, is_ended=self._is_ended)


class _InBeams(Writing):
    """The likeliest of several texts that are written side by side; told when the search is over."""

    def __init__(self, request: Request, tokenizer: Tokenizer, ending: Ending, beams: int) -> None:
        super().__init__(request, tokenizer, ending)
        self.rows = self.rows_max = beams
        self._rng = _rng(request.decoding)
        # As many as may end are left over to continue with.
        self._keep_min = 1 + max(1, len(ending.tokens))
        self._search = BeamSearch(
            request.ids,
            self.rows,
            ends=ending.tokens,
            max_tokens=request.max_tokens,
            length_penalty=ending.length_penalty,
            early_stopping=ending.early_stopping,
            rng=self._rng,
        )

    def advance(self, logits: NDArray[np.float32], logs: NDArray[np.float32]) -> Advance | None:
        self._check(logs)
        is_first = len(logs) < self.rows
        plain = np.broadcast_to(logs, (self.rows, logs.shape[1]))
        said = self._search.sequences
        ruled, plain = self._ruled(plain, plain, said, said.shape[1] - len(self._request.ids))
        shaped = shape(ruled, said, self._decoding, keep_min=self._keep_min)
        advance = self._search.advance(shaped, plain)
        if advance is None or not is_first:
            return advance
        return Advance(advance.tokens, (0,) * self.rows)

    def finish(self) -> Generated:
        best = self._search.best
        tokens = best.tokens[: len(best.tokens) - best.is_ended]
        self._stream.hold(*tokens)
        is_ended = best.is_ended and not self._is_cut(len(best.tokens))
        return self._generated(len(tokens), best.log_probability, is_ended=is_ended)


class _Among(Writing):
    """The likeliest of some choices; the budget does not count, nor how words are drawn."""

    def __init__(self, request: Request, tokenizer: Tokenizer, ending: Ending) -> None:
        super().__init__(request, tokenizer, ending)
        self._search = ChoiceSearch(request.decoding.choices, tokenizer, first=ending.rules.first)
        self.rows_max = self._search.rows_max
        self._made = 0

    def advance(self, logits: NDArray[np.float32], logs: NDArray[np.float32]) -> Advance | None:
        self._check(logs)
        if self._search.is_over:  # there is only one
            return None
        self._made += 1
        advance = self._search.advance(logs)
        self.rows = self._search.rows
        return advance

    def finish(self) -> Generated:
        choice, share = self._search.best
        text = self._decoding.choices[choice]
        self._tell(text)
        return Generated(text, "stop", len(self._request.ids), self._made, share)


def start_writing(request: Request, tokenizer: Tokenizer, ending: Ending) -> Writing:
    """Return the state of a request before its first run.

    Raises
    ------
    UsageError
        The model cannot tell its choices apart. Not retryable.
    """
    if request.decoding.choices:
        return _Among(request, tokenizer, ending)
    beams = request.decoding.beams
    if beams is None:
        beams = 1 if request.decoding.temperature else ending.beams
    if beams > 1:
        return _InBeams(request, tokenizer, ending, beams)
    return _OneByOne(request, tokenizer, ending)


def _rng(decoding: Decoding) -> np.random.Generator | None:
    """Return the request's own source of chance: its neighbours do not change what it draws."""
    return np.random.default_rng(decoding.seed) if decoding.temperature else None
