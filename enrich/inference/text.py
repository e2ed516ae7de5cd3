"""From text to tokens and back: a model's tokenizer.json, and text that grows token by token."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from enrich.errors import ExtraMissing, ManifestError

__all__ = ["TextStream", "Tokenizer", "load_tokenizer"]

#: What tokenizers put where bytes are no character (yet).
_NO_CHARACTER = "\ufffd"


class Tokenizer:
    """A model's tokenizer; its methods may be called from any thread.

    Parameters
    ----------
    path : Path
        Its tokenizer.json.
    said : collection of str
        Special tokens that say something, and are left in the text.

    Raises
    ------
    ExtraMissing
        The package ``tokenizers`` is not installed.
    ManifestError
        The file cannot be read.

    None of them is retryable.
    """

    def __init__(self, path: Path, said: Collection[str] = ()) -> None:
        self._tokenizer = _load(path)
        self._special = _special_ids(self._tokenizer)
        self._silent = self._special - {self._tokenizer.token_to_id(token) for token in said}
        self._plain: Any = None
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many tokens there are, those that were added later included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def token_id(self, token: str) -> int | None:
        """Return a token's id, or None."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def encode(self, text: str, *, special: bool = True, plain: bool = False) -> list[int]:
        """Return the ids of a text.

        Parameters
        ----------
        text : str
            Any; what is no Unicode (half a surrogate pair) is read as "?".
        special : bool
            Put the tokens around it that the model was trained with (``[CLS] ... [SEP]``).
        plain : bool
            Read what looks like a special token as the ordinary text it is, or leave it out where the
            vocabulary has no other word for it. For text of strangers: a question must not be able to
            end itself.
        """
        tokenizer = self._plain_one() if plain else self._tokenizer
        encoding = tokenizer.encode(_unicode(text), add_special_tokens=special)
        ids: list[int] = encoding.ids
        if not plain:
            return ids
        # Some vocabularies have them as words, too.
        return [
            id_
            for id_, is_frame in zip(ids, encoding.special_tokens_mask, strict=True)
            if is_frame or id_ not in self._special
        ]

    def encode_said(
        self, parts: Sequence[tuple[str, bool]], *, special: bool = True, never: Collection[int] = ()
    ) -> list[int]:
        """Return the ids of a text, some parts of which were said by strangers.

        It is read as one text, as the model was trained: words may reach over the parts' edges. Only where
        a token that was added to the vocabulary would come of what was said (a special one, or one of
        ``never``), the parts are read apart, and the strangers' as ``plain`` text.

        Parameters
        ----------
        parts : sequence of (str, bool)
            What stands there in a row, and whether a stranger said it.
        special : bool
            As for ``encode``.
        never : collection of int
            Tokens that strangers must not say, though they are not special.
        """
        parts = [(_unicode(text), is_said) for text, is_said in parts]
        whole = "".join(text for text, _ in parts)
        encoding = self._tokenizer.encode(whole, add_special_tokens=special)
        ids: list[int] = encoding.ids
        said, end = bytearray(len(whole)), 0
        for text, is_said in parts:
            said[end : end + len(text)] = bytes([is_said]) * len(text)
            end += len(text)
        guarded = self._special.union(never)
        for id_, (first, last) in zip(ids, encoding.offsets, strict=True):
            # Some tokens take in the space around them, whoever said it.
            if id_ in guarded and any(
                said[place] and not whole[place].isspace() for place in range(first, last)
            ):
                break
        else:
            return ids
        apart: list[int] = []
        for index, (text, is_said) in enumerate(parts):
            made = self.encode(text, special=special and not index, plain=is_said)
            apart += (id_ for id_ in made if not (is_said and id_ in never))
        return apart

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without the special tokens that say nothing."""
        is_usual = len(self._silent) == len(self._special)
        left = list(ids) if is_usual else [id_ for id_ in ids if id_ not in self._silent]
        text: str = self._tokenizer.decode(left, skip_special_tokens=is_usual)
        return text

    def _plain_one(self) -> Any:
        # A second one, because the setting belongs to the whole tokenizer, whoever uses it meanwhile.
        with self._lock:
            if self._plain is None:
                plain = type(self._tokenizer).from_str(self._tokenizer.to_str())
                plain.encode_special_tokens = True
                self._plain = plain
            return self._plain


class TextStream:
    """The text of tokens as they are made, in pieces that are never taken back.

    Held back are half a character, space at the end (which may turn out to be the last), and what
    may be the beginning of a stop text. All pieces together are ``text``.

    Parameters
    ----------
    tokenizer : Tokenizer
        The model's.
    stop : sequence of str
        Texts that end the stream; they are not part of it.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._given = ""
        self.is_stopped = False

    @property
    def text(self) -> str:
        """What was given so far; after ``finish``, the whole."""
        return self._given

    def hold(self, *ids: int) -> None:
        """Take tokens without looking for text in them yet: nobody reads along."""
        self._ids += ids

    def feed(self, *ids: int) -> str:
        """Take tokens and return the piece of text that is certain now, which may be empty."""
        self.hold(*ids)
        certain = self._until_stop()
        if not self.is_stopped:
            # At the end it may be a character of its own; until then it is half of one.
            certain = certain.rstrip(_NO_CHARACTER).rstrip()
            certain = certain[: len(certain) - self._begun(certain)].rstrip()
        return self._give(certain)

    def finish(self) -> str:
        """End the stream and return the last piece."""
        return self._give(self._until_stop())

    def _until_stop(self) -> str:
        whole = self._tokenizer.decode(self._ids).lstrip()
        found = [place for text in self._stop if (place := whole.find(text)) >= 0]
        self.is_stopped = bool(found)
        return (whole[: min(found)] if found else whole).rstrip()

    def _begun(self, text: str) -> int:
        """Return how many characters at the end of ``text`` may be the beginning of a stop text."""
        longest = max(map(len, self._stop), default=1) - 1
        for count in range(min(longest, len(text)), 0, -1):
            if any(one.startswith(text[-count:]) for one in self._stop):
                return count
        return 0

    def _give(self, certain: str) -> str:
        # By its length: some tokenizers rewrite what stands before a token, and what was given stays.
        piece = certain[len(self._given) :]
        self._given += piece
        return piece


def load_tokenizer(path: Path | None, folder: Path, said: Collection[str] = ()) -> Tokenizer:
    """Load a model's tokenizer.

    Parameters
    ----------
    path : Path or None
        Its tokenizer.json, if it has one.
    folder : Path
        The model's, for the message.
    said : collection of str
        As for ``Tokenizer``.

    Raises
    ------
    ExtraMissing, ManifestError
        As ``Tokenizer`` does; or the file is missing. Not retryable.
    """
    if path is None:
        raise ManifestError(
            f"{folder}: there is no tokenizer.json; copy it from where the model comes from, or save the "
            "tokenizer again with transformers' AutoTokenizer, which writes one"
        )
    return Tokenizer(path, said)


def _load(path: Path) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ExtraMissing(
            "models that read and write need tokenizers: pip install 'enrich-dam[cpu]' (NVIDIA: [gpu], "
            "Intel: [openvino])"
        ) from error
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    # The package raises a plain Exception for whatever is wrong with the file.
    except Exception as error:
        raise ManifestError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    # What the file keeps of its last call in training is not the model's.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the special tokens' ids, but for the one that stands for what is unknown."""
    model = json.loads(tokenizer.to_str())["model"]
    unknown = model.get("unk_id")
    if model.get("unk_token") is not None:
        unknown = tokenizer.token_to_id(model["unk_token"])
    added = tokenizer.get_added_tokens_decoder()
    return frozenset(id_ for id_, token in added.items() if token.special and id_ != unknown)


def _unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
