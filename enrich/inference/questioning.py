"""How a question comes to a picture: read over its states, or beside its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from enrich.inference.batches import decompose
from enrich.inference.decoder import Decoder
from enrich.inference.session import Session

__all__ = ["Beside", "Over", "Questioning", "read_questions"]

_Ids = NDArray[np.int64]
_Rows = NDArray[np.float32]


class Questioning(Protocol):
    """From questions and pictures to what a decoder writes in view of."""

    @property
    def buckets(self) -> tuple[int, ...]:
        """The batch sizes it takes."""
        ...

    def length(self, words: int, states: int) -> int:
        """Return how many positions a question takes up."""
        ...

    def read(self, ids: _Ids, states: _Rows) -> _Rows:
        """Return the states, (B, S', D), for questions, (B, S), and what was seen, (B, T, D).

        Raises
        ------
        InferenceError
            The runtime refused the run. Not retryable.
        """
        ...


class Over:
    """A text encoder that looks at the picture's states in every layer, as BLIP's does.

    Parameters
    ----------
    session : Session
        The graph.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.buckets = session.buckets

    def length(self, words: int, states: int) -> int:
        return words

    def read(self, ids: _Ids, states: _Rows) -> _Rows:
        return _run(
            self._session,
            {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "encoder_hidden_states": states,
                "encoder_attention_mask": np.ones(states.shape[:2], np.int64),
            },
        )


class Beside:
    """An encoder that reads the picture's features and behind them the question, as Florence-2's does.

    Parameters
    ----------
    session : Session
        The graph.
    decoder : Decoder
        Which has the words' embeddings.
    """

    def __init__(self, session: Session, decoder: Decoder) -> None:
        self._session, self._decoder = session, decoder
        self.buckets = session.buckets

    def length(self, words: int, states: int) -> int:
        return states + words

    def read(self, ids: _Ids, states: _Rows) -> _Rows:
        joint = np.concatenate([states, self._decoder.embed(ids)], axis=1)
        return _run(
            self._session, {"inputs_embeds": joint, "attention_mask": np.ones(joint.shape[:2], np.int64)}
        )


def read_questions(
    questioning: Questioning, questions: Sequence[Sequence[int]], states: Sequence[_Rows]
) -> list[_Rows]:
    """Return what each question makes of its picture, (S', D); equally long ones are read together.

    Raises
    ------
    InferenceError
        The runtime refused a run. Not retryable.
    """
    by_length: dict[int, list[int]] = {}
    for index, ids in enumerate(questions):
        by_length.setdefault(len(ids), []).append(index)
    read: dict[int, _Rows] = {}
    for alike in by_length.values():
        for size in decompose(len(alike), questioning.buckets):
            part, alike = alike[:size], alike[size:]
            asked = np.asarray([questions[index] for index in part], np.int64)
            rows = questioning.read(asked, np.stack([states[index] for index in part]))
            read |= zip(part, rows, strict=True)
    return [read[index] for index in range(len(questions))]


def _run(session: Session, feeds: Mapping[str, NDArray[Any]]) -> _Rows:
    (rows,) = session.run(feeds, [session.outputs[0].name])
    return rows.astype(np.float32, copy=False)
