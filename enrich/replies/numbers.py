"""Numbers in replies: digits of any width, and words for 0 to 100 in seven languages."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

from enrich.replies.words import listed, plain

__all__ = ["NUMBER_MAX", "read_number"]

#: A double holds no larger whole number exactly.
NUMBER_MAX = 2**53

#: These write 1.234,5 where others write 1,234.5.
_COMMA_LANGUAGES = {"de", "es", "fr"}

_DIGITS = re.compile(r"(?<![\w.,])[-−]?\d(?:[\d.,'’]|[ \u00a0\u202f](?=\d{3}\b))*(?<=\d)")
_ANY_DIGIT = re.compile(r"\d+")
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000}
_HAN_DIGITS = {
    **{digit: value for value, digit in enumerate("〇一二三四五六七八九")},
    "零": 0,
    "两": 2,
    "兩": 2,
}
# Behind a numeral they count things; without one 一 may be part of any word.
_HAN_COUNTERS = "人个個只隻匹つ名本枚台条條张張位件頭头羽朵颗顆把辆輛棵座块塊杯冊册回次歳岁色种種"
_HAN = re.compile(
    f"(?<![第期周週{''.join(_HAN_DIGITS)}十百千])([{''.join(_HAN_DIGITS)}十百千]+)(?=[{_HAN_COUNTERS}]|[\\W]|$)"
)
_KOREAN_COUNTERS = "명|개|마리|대|사람|분|살|권|장|병|송이|그루|채|가지|색"
_NOTHING = frozenset(
    listed(
        "none nothing nobody 没有 沒有 无 無 aucun aucune rien personne keine keiner kein keines niemand "
        "nichts ninguno ninguna ningun nada nadie なし ない ありません いません 없음 없습니다 없어요 없다"
    )
) | {"no one"}
# Not read: three million is not three, nor "ein paar" one, and 3D is no number at all.
_OTHER = re.compile(
    r"\b(?:thousands?|millions?|billions?|dozens?|hundreds|half|tausend|millionen|dutzend|halb|mille|milliers?|"
    r"douzaines?|demi|mil|miles|millon|millones|docenas?|medi[oa]|cientos|drittel|viertel|"
    r"(?:deux|trois|quatre|cinq|six|sept|huit|neuf)[\s-]cents?|(?:an?|one|two|three)[\s-](?:third|quarter)s?|"
    r"(?:un|deux)\stiers|(?:un|dos|tres)\s(?:tercio|cuarto)s?)\b"
    r"|\b(?:an?|one|une?|eine?|una?)\s(?:couple|pair|handful|few|paar|handvoll|reihe|paire|poignee|par|punado|"
    r"(?:diz|quinz|vingt|trent|quarant|cinquant|soixant|cent)aine|decena|quincena|veintena|centenar)s?\b"
    r"|(?:^|\b(?:is|ist|est|es)\s)(?:minus|moins|menos)\b"
    r"|[\d一-鿿]\s*[万萬亿億]|[\d가-힣]\s*[만억천]\b|\d\s*[千百백kd]\b|分之"
)
# Not read where the language is another, or unknown: English "once", and the null of JSON.
_AMBIGUOUS: Mapping[str, str] = {"once": "es", "null": "de"}
# That there is nothing of a kind; but "no way to tell" says nothing of how many.
_NO_SUCH = re.compile(
    r"^(?:(?:there (?:is|are)|i (?:can )?see) no(?:t any| one|body)?|there (?:isn|aren)['’]t any|"
    r"no (?:one|body|people|persons?|humans?)|nobody|nothing|es (?:gibt|ist|sind) keine?n?|niemand|"
    r"keine personen|il n['’]y a (?:pas d[e'’]|aucune?|personne)|aucune personne|no hay|ninguna persona|"
    r"nadie)\b(?!.*\b(?:way|idea|indication|answer|telling|information(?:en)?|ahnung|angaben?|idee|reponse|moyen|"
    r"informacion|manera)\b)"
    r"|(?:没有|沒有|无|無)(?:任何)?人|(?:誰も|人は|人が|一人も)(?:い|写ってい)(?:ない|ません)"
    r"|(?:아무도|사람[은이도]) (?:없|보이지 않)"
)
# That of 5 m² is of no weight, but 10² is not 102.
_POWER = re.compile("[⁰¹²³⁴-⁹₀-₉]")
_RAISED = re.compile(rf"\d\s*{_POWER.pattern}")
_POINT_FIRST = re.compile(r"(?<![\w.,])(?=\.\d)")
_WORDS = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")


def read_number(reply: str, language: str | None) -> int | float | None:
    """Return the only number in a reply; None where there is none, or more than one.

    ``language`` tells what points and commas mean; without one they are read as in English.
    """
    if _RAISED.search(reply):
        return None
    text = _POINT_FIRST.sub("0", plain(_POWER.sub(" ", reply)).strip(" !。！").rstrip(" ."))
    if text in _NOTHING and _is_in(language, text):
        return 0
    if _OTHER.search(text):
        return None
    text, nothings = _NO_SUCH.subn(" ", text)
    found = [*_in_digits(text, language), *_in_words(text, language), *[0] * nothings]
    if len(found) != 1 or found[0] is None or abs(found[0]) > NUMBER_MAX:
        return None
    return found[0]


def _in_digits(text: str, language: str | None) -> Iterator[int | float | None]:
    end = 0
    for match in _ANY_DIGIT.finditer(text):
        if match.start() < end:
            continue
        # With its sign, or without one.
        whole = _DIGITS.match(text, max(match.start() - 1, 0)) or _DIGITS.match(text, match.start())
        if whole is None:
            end = match.end()
            yield None if _is_in_word(text, match) else int(match[0]) if len(match[0]) < 17 else None
            continue
        end = whole.end()
        yield _value(whole[0], language)


def _is_in_word(text: str, match: re.Match[str]) -> bool:
    """Whether digits belong to a name such as B52; after Chinese or Japanese letters they stand alone."""
    before = text[match.start() - 1 : match.start()]
    return not before.isalpha() or before.isascii()


def _value(digits: str, language: str | None) -> int | float | None:
    sign = -1 if digits[0] in "-−" else 1
    digits = re.sub(r"[ \u00a0\u202f'’−-]", "", digits)
    is_comma = language is not None and language.split("-")[0].lower() in _COMMA_LANGUAGES
    point, group = (",", ".") if is_comma else (".", ",")
    if re.fullmatch(rf"\d{{1,3}}(?:{re.escape(group)}\d{{3}})+(?:{re.escape(point)}\d+)?", digits):
        digits = digits.replace(group, "")
    elif digits.count(".") + digits.count(",") > 1:
        other = rf"\d{{1,3}}(?:{re.escape(point)}\d{{3}})+(?:{re.escape(group)}\d+)?"
        if not re.fullmatch(other, digits):
            return None  # a date, a version
        digits, point = digits.replace(point, ""), group
    digits = digits.replace(",", ".")
    if len(digits) > 30:
        return None
    return sign * float(digits) if "." in digits else sign * int(digits)


def _is_in(language: str | None, words: str) -> bool:
    """Whether words may be meant as a number in a language; None: in whatever language this is."""
    of = _AMBIGUOUS.get(words)
    return of is None or (language is not None and language.split("-")[0].lower() == of)


def _in_words(text: str, language: str | None) -> Iterator[int | None]:
    for match in _HAN.finditer(text):
        yield _han(match[1])
    for match in _korean().finditer(text):
        yield _KOREAN[match[1]]
    words = [word for word in re.split(r"[\s\-]+", text) if word]
    words = [found[0] if (found := _WORDS.search(word)) else "" for word in words]
    table, index = _latin(), 0
    while index < len(words):
        # The longest run of words first: vingt et un, quatre vingt dix neuf.
        for length in range(min(5, len(words) - index), 0, -1):
            run = " ".join(words[index : index + length])
            value = table.get(run)
            if value is not None and _is_in(language, run):
                yield value
                index += length
                break
        else:
            index += 1


def _han(text: str) -> int | None:
    """Return the value of a numeral in Chinese letters, up to 9,999; 二〇二四 is read digit by digit."""
    if not any(letter in _HAN_UNITS for letter in text):
        return int("".join(str(_HAN_DIGITS[letter]) for letter in text)) if len(text) < 17 else None
    total, digit = 0, None
    for letter in text:
        if letter in _HAN_UNITS:
            total += (1 if digit is None else digit) * _HAN_UNITS[letter]
            digit = None
        else:
            digit = _HAN_DIGITS[letter] or None
    return total + (digit or 0)


def _korean_numbers() -> dict[str, int]:
    ones = listed("하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉")
    counting = listed("한 두 세 네 다섯 여섯 일곱 여덟 아홉")
    sino = "일이삼사오육칠팔구"
    table = {"열": 10, "스물": 20, "스무": 20, "영": 0, "공": 0, "백": 100}
    for forms in (ones, counting):
        table |= {form: value for value, form in enumerate(forms, 1)}
        table |= {f"열{form}": 10 + value for value, form in enumerate(forms, 1)}
        table |= {f"스물{form}": 20 + value for value, form in enumerate(forms, 1)}
    for tens in range(10):
        head = "" if not tens else "십" if tens == 1 else f"{sino[tens - 1]}십"
        table |= {f"{head}{form}": 10 * tens + value for value, form in enumerate(sino, 1)}
        if head:
            table[head] = 10 * tens
    return table


_KOREAN = _korean_numbers()


@functools.cache
def _korean() -> re.Pattern[str]:
    words = "|".join(sorted(_KOREAN, key=len, reverse=True))
    # Alone, or counting something: most of these syllables are parts of other words, too.
    return re.compile(rf"(?<!\w)({words})(?=\s*(?:{_KOREAN_COUNTERS})|(?:입니다|이에요|예요)?\W*$)")


@functools.cache
def _latin() -> Mapping[str, int]:
    """Return the words for 0 to 100 in English, German, French and Spanish, as ``plain`` leaves them."""
    return {plain(words): value for words, value in [*_english(), *_german(), *_french(), *_spanish()]}


def _english() -> Iterator[tuple[str, int]]:
    small = listed(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen"
    )
    yield from ((word, value) for value, word in enumerate(small))
    for tens, word in enumerate(listed("twenty thirty forty fifty sixty seventy eighty ninety"), 2):
        yield word, 10 * tens
        yield from ((f"{word} {one}", 10 * tens + value) for value, one in enumerate(small[1:10], 1))
    yield from (("hundred", 100), ("one hundred", 100), ("a hundred", 100))


def _german() -> Iterator[tuple[str, int]]:
    small = listed(
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn "
        "sechzehn siebzehn achtzehn neunzehn"
    )
    yield from ((word, value) for value, word in enumerate(small))
    yield from ((word, 1) for word in listed("ein eine einen einem einer eines"))
    tens_words = listed("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")
    for tens, word in enumerate(tens_words, 2):
        yield word, 10 * tens
        for value, one in enumerate(["ein", *small[2:10]], 1):
            yield f"{one}und{word}", 10 * tens + value
    yield from (("hundert", 100), ("einhundert", 100), ("zwo", 2))


def _french() -> Iterator[tuple[str, int]]:
    small = listed(
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"
    )
    words = [*small, "dix sept", "dix huit", "dix neuf"]
    yield from ((word, value) for value, word in enumerate(words))
    yield "une", 1
    for tens, word in enumerate(listed("vingt trente quarante cinquante soixante"), 2):
        yield word, 10 * tens
        yield from ((f"{word} et {one}", 10 * tens + 1) for one in ("un", "une"))
        yield from ((f"{word} {words[value]}", 10 * tens + value) for value in range(2, 10))
    yield from ((f"soixante {words[value]}", 60 + value) for value in range(10, 20))
    yield "soixante et onze", 71
    yield from (("quatre vingt", 80), ("quatre vingts", 80))
    yield from ((f"quatre vingt {words[value]}", 80 + value) for value in range(1, 20))
    yield from (("septante", 70), ("huitante", 80), ("nonante", 90), ("cent", 100))


def _spanish() -> Iterator[tuple[str, int]]:
    small = listed(
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
        "dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro "
        "veinticinco veintiséis veintisiete veintiocho veintinueve"
    )
    yield from ((word, value) for value, word in enumerate(small))
    yield from (("un", 1), ("una", 1), ("veintiún", 21), ("veintiuna", 21), ("cien", 100), ("ciento", 100))
    for tens, word in enumerate(listed("treinta cuarenta cincuenta sesenta setenta ochenta noventa"), 3):
        yield word, 10 * tens
        yield from ((f"{word} y {one}", 10 * tens + value) for value, one in enumerate(small[1:10], 1))
        yield from ((f"{word} y {one}", 10 * tens + 1) for one in ("un", "una"))
