"""Replies as booleans, choices and, by the modules beside, numbers and dates."""

from __future__ import annotations

import re

from enrich.replies.dates import read_date
from enrich.replies.numbers import read_number
from enrich.replies.words import listed, plain, same_words
from enrich.types import Question

__all__ = ["choices_of", "read_reply"]

# English, Chinese, French, German, Spanish, Japanese, Korean; as ``plain`` leaves them.
_YES = frozenset(
    listed("""
    yes yeah yep yup y true correct right
    是 是的 对 对的 有 有的 正确 真
    oui vrai si exact
    ja jawohl doch wahr richtig stimmt
    si verdadero cierto correcto
    はい ええ うん そう そうです はいそうです あります います ある いる あり 真
    네 예 응 그렇습니다 맞습니다 맞아요 있습니다 있어요 있다 있음 참
    """)
)
_NO = frozenset(
    listed("""
    no nope nah n false incorrect wrong
    不 不是 不是的 没有 沒有 没 不对 否 错 假 无
    non faux
    nein falsch
    falso incorrecto
    いいえ いえ いや ちがいます 違います ありません いません ない いない なし 無し 偽
    아니요 아니오 아뇨 아니 아닙니다 없습니다 없어요 없다 없음 거짓
    """)
)
_FIRST = re.compile(r"([^,.;:!、。，；！(\n—–]+?)\s*(?:[,.;:!、。，；！(\n—–]|\s-\s|$)")
_SPACES = re.compile(r"\s+")
_BLANKS = re.compile(r"[^\S\n]+")
# "Yes it is", "No the door is open"; but "yes and no", "no idea" and "no one" are neither.
_AND_ON = re.compile(
    r"(yes|oui|ja)\s(?!(?:and|or|et|ou|und|oder|but|mais|aber|no|non|nein)\b)"
    r"|(no|nein)\s(?:it|he|she|they|there|this|that|these|those|the|i|we|not|da|es|er|sie|das|der|die)\b"
)
#: What models put around an answer: labels, markup, quotation marks, the letter or number of a choice.
_LABEL = re.compile(
    r"(?:the |final )*(?:answer|antwort|reponse|respuesta|答案|回答|答え|답변?)(?: is|은|は|是)?\s*[:：]?\s*"
)
_NUMBERED = re.compile(r"(?:\(?\w[.)]|[-•])\s+")
_FRAME = " \t\r\n\"'`“”‘’«»「」[](){}<>*_"

# As they come out of ``plain``.
_YES_PLAIN = frozenset(plain(word) for word in _YES)
_NO_PLAIN = frozenset(plain(word) for word in _NO)


#: What can be said to a question of yes or no, by its language; in English to others.
_EITHER = {
    "de": ("Ja", "Nein"),
    "es": ("Sí", "No"),
    "fr": ("Oui", "Non"),
    "ja": ("はい", "いいえ"),
    "ko": ("예", "아니요"),
    "zh": ("是", "否"),
}


def choices_of(question: Question) -> tuple[str, ...]:
    """Return all that can be said to a question; empty: too much to be listed.

    A model whose reply cannot be read may be held to them (``Decoding.choices``): what it writes then
    can be.
    """
    if question.type != "boolean":
        return question.choices
    return _EITHER.get((question.language or "").split("-")[0].lower(), ("Yes", "No"))


def read_reply(reply: str, question: Question) -> str | bool | int | float | None:
    """Return a reply's value by the type of its question.

    Parameters
    ----------
    reply : str
        The model's words.
    question : Question
        Its ``type`` says what is read, its ``choices`` what may be chosen, its ``language`` how
        numbers and dates are written where that is not clear by itself.

    Returns
    -------
    str, bool, int, float or None
        ``string``: the reply; ``boolean``: what a yes or no at its beginning says; ``number``: the only
        number in it; ``choice``: the choice in the spelling of the question; ``date``: ISO 8601, as
        exact as it was said (``2024``, ``2024-05``, ``2024-05-31``). None where it cannot be read.
    """
    reply = reply.strip()
    if not reply:
        return None
    if question.type == "boolean":
        return _boolean(reply)
    if question.type == "number":
        return read_number(reply, question.language)
    if question.type == "choice":
        return _choice(reply, question.choices)
    if question.type == "date":
        return read_date(reply, question.language)
    return reply


def _boolean(reply: str) -> bool | None:
    # "Yes, there is." says yes; "No idea." says nothing.
    text = _bare(reply)
    if match := _AND_ON.match(text):
        return match[1] is not None
    match = _FIRST.match(text)
    word = _SPACES.sub("", match[1]) if match and _is_spaceless(match[1]) else match[1] if match else ""
    if word in _YES_PLAIN:
        return True
    if word in _NO_PLAIN:
        return False
    return None


def _is_spaceless(text: str) -> bool:
    """Whether a text is in a script that may do without spaces."""
    return all(ord(character) > 0x2E80 or character.isspace() for character in text)


def _choice(reply: str, choices: tuple[str, ...]) -> str | None:
    if reply in choices:
        return reply
    by_words = {same_words(choice): choice for choice in reversed(choices)}
    return by_words.get(same_words(reply)) or by_words.get(same_words(_bare(reply)))


def _bare(reply: str) -> str:
    """Return a reply folded to lower case, without what stands around it."""
    text = _BLANKS.sub(" ", plain(reply)).strip(_FRAME)
    for before in (_LABEL, _NUMBERED):
        match = before.match(text)
        if match and match.end() < len(text):
            text = text[match.end() :]
    return text.strip(_FRAME)
