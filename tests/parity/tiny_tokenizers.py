"""A tokenizer of each kind the model families use, learned on the spot from a few sentences."""

from __future__ import annotations

import collections
import itertools
import math
import re

import tokenizers
from parity.sentences import SENTENCES
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

__all__ = ["blip_tokenizer", "clip_tokenizer", "gpt2_tokenizer", "siglip_tokenizer"]

_TEXTS = [text for texts in SENTENCES.values() for text in texts]
_END, _START = "<|endoftext|>", "<|startoftext|>"
_BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
_CLIP_WORD = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE as GPT-2's: every string comes back as it was, nothing is added."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    merges = _merges({tuple(word): count for word, count in _words(made).items()}, 70)
    made.model = models.BPE(_numbered(_END, *_BYTES, *map("".join, merges)), merges)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=_END, eos_token=_END, unk_token=_END, pad_token=_END
    )


def clip_tokenizer() -> PreTrainedTokenizerFast:
    """Return a lower-casing byte-level BPE as CLIP's: words end in ``</w>``, start and end are added."""
    made = tokenizers.Tokenizer(models.BPE())
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_CLIP_WORD, "removed", invert=True), pre_tokenizers.ByteLevel(False)]
    )
    made.decoder = decoders.ByteLevel()
    counted = {(*word[:-1], f"{word[-1]}</w>"): count for word, count in _words(made).items()}
    merges = _merges(counted, 70)
    endings = [f"{letter}</w>" for letter in _BYTES]
    vocabulary = _numbered(*_BYTES, *endings, *map("".join, merges), _START, _END)
    made.model = models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=_END)
    made.post_processor = processors.RobertaProcessing(
        sep=(_END, vocabulary[_END]),
        cls=(_START, vocabulary[_START]),
        trim_offsets=False,
        add_prefix_space=False,
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=_START,
        eos_token=_END,
        unk_token=_END,
        pad_token=_END,
        model_max_length=77,
    )


def blip_tokenizer() -> BertTokenizerFast:
    """Return a WordPiece as BERT's, with BLIP's two tokens at the end of the vocabulary."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.model = models.WordPiece(vocab=_word_pieces(_words(made)), unk_token="[UNK]")
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    fast = BertTokenizerFast(tokenizer_object=made, model_max_length=512)
    fast.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    return fast


def siglip_tokenizer() -> PreTrainedTokenizerFast:
    """Return a Unigram as SigLIP's: lower case, no punctuation, the end added, padded to 64."""
    made = tokenizers.Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[" + re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + "]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.model = models.Unigram(_scored_pieces(_words(made)), unk_id=2)
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="</s>", unk_token="<unk>", pad_token="</s>", model_max_length=64
    )


# The library's trainers break ties by a hash, and give another vocabulary each time.


def _words(tokenizer: tokenizers.Tokenizer) -> collections.Counter[str]:
    normalizer = tokenizer.normalizer
    normalized = _TEXTS if normalizer is None else map(normalizer.normalize_str, _TEXTS)
    return collections.Counter(
        word for text in normalized for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)
    )


def _word_pieces(words: collections.Counter[str]) -> dict[str, int]:
    """Return every letter, at the start of words and within, and the most frequent starts and ends."""
    letters = sorted({letter for word in words for letter in word})
    longer: collections.Counter[str] = collections.Counter()
    for word, count in words.items():
        for cut in range(2, len(word) + 1):
            longer[word[:cut]] += count
            longer["##" + word[-cut:]] += count
    names = [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        *letters,
        *(f"##{letter}" for letter in letters),
        *sorted(longer, key=lambda piece: (-longer[piece], piece))[:160],
    ]
    return _numbered(*names)


def _scored_pieces(words: collections.Counter[str]) -> list[tuple[str, float]]:
    """Return the most frequent pieces of up to five letters with the logarithm of their share."""
    pieces: collections.Counter[str] = collections.Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + 5) + 1):
                pieces[word[start:end]] += count
    by_count = sorted(pieces, key=lambda piece: (-pieces[piece], piece))
    letters = [piece for piece in by_count if len(piece) == 1]
    chosen = [*letters, *[piece for piece in by_count if len(piece) > 1][: 397 - len(letters)]]
    total = sum(pieces[piece] for piece in chosen)
    scored = [(piece, round(math.log(pieces[piece] / total), 4)) for piece in chosen]
    return [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *scored]


def _merges(words: dict[tuple[str, ...], int], count: int) -> list[tuple[str, str]]:
    """Return the pairs that byte-pair encoding joins, the most frequent first."""
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: collections.Counter[tuple[str, str]] = collections.Counter()
        for word, times in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_joined(word, best): times for word, times in words.items()}
    return merges


def _joined(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    parts: list[str] = []
    for part in word:
        if parts and (parts[-1], part) == pair:
            parts[-1] += part
        else:
            parts.append(part)
    return tuple(parts)


def _numbered(*names: str) -> dict[str, int]:
    return {name: index for index, name in enumerate(dict.fromkeys(names))}
