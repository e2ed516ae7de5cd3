"""Text in seven languages: what the tiny tokenizers learn from, and thousands of odd strings to read."""

from __future__ import annotations

import random
import unicodedata

__all__ = ["SENTENCES", "SPECIALS", "odd_strings"]

SENTENCES = {
    "en": (
        "A small red circle lies above a large blue square on a white ground.",
        "Two people walk in the park; what colour is the dog?",
        "How many boats are there? Three, and one of them isn't moored.",
    ),
    "zh": ("白色背景上有一个红色的小圆和一个蓝色的大方块。", "图片里有几个人？两个人在公园里散步。"),
    "fr": (
        "Un petit cercle rouge à gauche d'un grand carré bleu, sur fond blanc.",
        "Où est l'étoile ? Elle brille là-haut, près de la fenêtre ouverte.",
    ),
    "de": (
        "Ein kleiner roter Kreis über einem großen blauen Quadrat auf weißem Grund.",
        "Wie viele Vögel sitzen auf der Brücke? Fünf, glaube ich.",
    ),
    "es": (
        "Un círculo rojo pequeño encima de un cuadrado azul grande, sobre fondo blanco.",
        "¿De qué color es el coche? ¡Es amarillo, señor!",
    ),
    "ja": (
        "白い背景に小さな赤い丸と大きな青い四角があります。",
        "犬は何色ですか。公園でボールを追いかけています。",
    ),
    "ko": (
        "흰 바탕에 작은 빨간 원과 큰 파란 사각형이 있습니다.",
        "사진에 몇 사람이 있나요? 두 사람이 걷고 있습니다.",
    ),
}

#: What our tokenizers, and others, take for special; a person may write them too.
SPECIALS = (
    "<|endoftext|>",
    "<|startoftext|>",
    "<|endoftext",
    "</s>",
    "<s>",
    "<unk>",
    "<pad>",
    "[SEP]",
    "[CLS]",
    "[PAD]",
    "[MASK]",
    "[UNK]",
    "[DEC]",
    "[sep]",
    "[ SEP ]",
    "@@",
    "##ing",
    "</w>",
    "▁",
    "Ġ",
)

_SPACES = (" ", " ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u200b", "")
_EMOJI = ("🙂", "👩‍👩‍👧", "🇯🇵", "👍🏽", "❤️", "☂", "🏳️‍🌈")
_MARKS = ("e\u0301", "n\u0303", "a\u0308\u0304", "\u0301", "か\u3099", "한", "ｱﾞ", "ﬁ", "İ", "ß")
_REST = (
    "",
    " ",
    "...",
    "?!",
    "'s",
    "'ll",
    "1234567",
    "３",
    "x²",
    "½",
    "\x07",
    "\ufffd",
    "שלום",
    "مرحبا",
    "-",
    "«»",
)


def odd_strings(count: int, seed: int) -> list[str]:
    """Return strings that people and machines write: words of all seven languages mixed with oddities."""
    rng = random.Random(seed)
    words = {language: _words(texts) for language, texts in SENTENCES.items()}
    return ["", " ", "\n", *SPECIALS, *(_string(rng, words) for _ in range(count - len(SPECIALS) - 3))]


def _words(texts: tuple[str, ...]) -> list[str]:
    # Without spaces between words: single characters and pairs will do.
    pieces = [piece for text in texts for piece in text.split()]
    return pieces + [piece[start : start + 2] for piece in pieces for start in range(0, len(piece), 2)]


def _string(rng: random.Random, words: dict[str, list[str]]) -> str:
    mine = words[rng.choice(sorted(words))]
    parts = []
    for _ in range(rng.randrange(1, 12)):
        chance = rng.random()
        if chance < 0.7:
            parts.append(rng.choice(mine))
        elif chance < 0.76:
            parts.append(rng.choice(words[rng.choice(sorted(words))]))
        else:
            parts.append(rng.choice(rng.choice((_EMOJI, _MARKS, SPECIALS, _REST))))
        parts.append(rng.choice(_SPACES))
    text = "".join(parts)
    if rng.random() < 0.1:
        text = rng.choice((text.upper(), text.title(), text * 5))
    return unicodedata.normalize("NFD", text) if rng.random() < 0.15 else text
