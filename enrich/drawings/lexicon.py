"""The words for drawn scenes in seven languages: nouns, colours, sizes, places and questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LANGUAGES", "LENGTHS", "Language", "Noun"]

#: How long a caption is.
LENGTHS = ("short", "normal", "long", "alt_text")

_KINDS = ("circle", "cross", "heart", "moon", "square", "star", "triangle")
_COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "grey",
    "black",
    "white",
)
_PLACES = (
    "top left",
    "top",
    "top right",
    "left",
    "centre",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)


@dataclass(frozen=True, slots=True)
class Noun:
    """A kind of shape: the word, its gender (m, f, n or empty), and what joins it to a next one."""

    word: str
    gender: str = ""
    joined: str = ""


@dataclass(frozen=True, slots=True)
class Language:
    """One language's words and patterns.

    Parameters
    ----------
    nouns : mapping of str to Noun
        By kind.
    colours : mapping of str to (mapping of str to str)
        By colour and gender.
    grounds : mapping of str to str
        The colour as it stands before or after the word for background.
    sizes : mapping of str to (mapping of str to str)
        ``large`` and ``small`` by gender.
    articles : mapping of str to str
        The indefinite article by gender.
    the : mapping of str to str
        The definite article by gender, as the questions have it.
    places : mapping of str to str
        By place.
    phrases : mapping of str to str
        How one shape is named, by length.
    tag, background : str
        How a shape of a colour, and a background, are named alone.
    captions : mapping of str to str
        Patterns of whole captions, by length.
    numbers : sequence of str
        One shape, two shapes, three shapes.
    comma, last : str
        What stands between shapes, and before the last one.
    questions : mapping of str to (tuple of str)
        Ways to ask, by the kind of question.
    yes, no, none : str
        Answers; ``none``: there is no such thing.
    face, poster : mapping of str to str
        The captions of a drawn face and of a poster, by length.
    """

    nouns: Mapping[str, Noun]
    colours: Mapping[str, Mapping[str, str]]
    grounds: Mapping[str, str]
    sizes: Mapping[str, Mapping[str, str]]
    articles: Mapping[str, str]
    the: Mapping[str, str]
    places: Mapping[str, str]
    phrases: Mapping[str, str]
    tag: str
    background: str
    captions: Mapping[str, str]
    numbers: tuple[str, str, str]
    comma: str
    last: str
    questions: Mapping[str, tuple[str, ...]]
    yes: str
    no: str
    none: str
    face: Mapping[str, str]
    poster: Mapping[str, str]


def _nouns(*words: str) -> dict[str, Noun]:
    return {kind: Noun(*word.split("/")) for kind, word in zip(_KINDS, words, strict=True)}


def _colours(genders: str, *words: str) -> dict[str, dict[str, str]]:
    """Read ``vert/verte`` as the forms for each of ``genders``; one word stands for all."""
    forms = {}
    for colour, word in zip(_COLOURS, words, strict=True):
        given = word.split("/")
        forms[colour] = dict(zip(genders, given if len(given) > 1 else given * len(genders), strict=True))
    return forms


def _plain(*words: str) -> dict[str, dict[str, str]]:
    return {colour: {"": word} for colour, word in zip(_COLOURS, words, strict=True)}


def _grounds(*words: str) -> dict[str, str]:
    return dict(zip(_COLOURS, words, strict=True))


def _places(*words: str) -> dict[str, str]:
    return dict(zip(_PLACES, words, strict=True))


def _lengths(*words: str) -> dict[str, str]:
    return dict(zip(LENGTHS, words, strict=True))


_EN = Language(
    nouns=_nouns(*_KINDS),
    colours=_plain(*_COLOURS),
    grounds=_grounds(*_COLOURS),
    sizes={"large": {"": "large"}, "small": {"": "small"}},
    articles={"": "a"},
    the={"": "the"},
    places=_places(
        "at the top left",
        "at the top",
        "at the top right",
        "on the left",
        "in the centre",
        "on the right",
        "at the bottom left",
        "at the bottom",
        "at the bottom right",
    ),
    phrases=_lengths(
        "{a} {colour} {kind}",
        "{a} {size} {colour} {kind}",
        "{a} {size} {colour} {kind} {place}",
        "{a} {colour} {kind} {place}",
    ),
    tag="{colour} {kind}",
    background="{ground} background",
    captions=_lengths(
        "{shapes}.",
        "{shapes} on {ground} background.",
        "The drawing shows {number} on {ground} background: {shapes}.",
        "Drawing of {shapes}.",
    ),
    numbers=("one shape", "two shapes", "three shapes"),
    comma=", ",
    last=" and ",
    questions={
        "background": ("What colour is the background?", "Which colour does the background have?"),
        "count": ("How many shapes are there?", "How many shapes are in the picture?"),
        "colour": ("What colour is {the} {kind}?", "Which colour does {the} {kind} have?"),
        "kind": ("Which shape is {colour}?", "What is the {colour} shape?"),
        "place": ("Where is {the} {kind}?",),
        "size": ("Is {the} {kind} large or small?", "What size is {the} {kind}?"),
        "at": ("What is {place}?", "Which shape is {place}?"),
        "has_kind": ("Is there {a} {kind}?", "Does the picture show {a} {kind}?"),
        "has": ("Is there {a} {colour} {kind}?",),
        "people": ("How many people are in the picture?", "How many people are there?"),
        "person": ("Is there a person?", "Is there a person in the picture?"),
    },
    yes="yes",
    no="no",
    none="none",
    face=_lengths(
        "A face.", "A drawn face.", "The drawing shows the face of one person.", "Drawing of a face."
    ),
    poster=_lengths(
        "A poster.",
        "A poster with text.",
        "The picture shows a poster with lines of text.",
        "Poster with text.",
    ),
)

_DE_STEMS = (
    "rot",
    "orangefarben",
    "gelb",
    "grün",
    "blau",
    "violett",
    "rosafarben",
    "braun",
    "grau",
    "schwarz",
    "weiß",
)

_DE = Language(
    nouns=_nouns("Kreis/m", "Kreuz/n", "Herz/n", "Mond/m", "Quadrat/n", "Stern/m", "Dreieck/n"),
    colours=_colours("mnp", *(f"{stem}er/{stem}es/{stem}" for stem in _DE_STEMS)),
    grounds=_grounds(*(f"{stem}em" for stem in _DE_STEMS)),
    sizes={
        "large": {"m": "großer", "n": "großes", "p": "groß"},
        "small": {"m": "kleiner", "n": "kleines", "p": "klein"},
    },
    articles={"m": "ein", "n": "ein"},
    the={"m": "der", "n": "das"},
    places=_places(
        "oben links",
        "oben",
        "oben rechts",
        "links",
        "in der Mitte",
        "rechts",
        "unten links",
        "unten",
        "unten rechts",
    ),
    phrases=_lengths(
        "{a} {colour} {kind}",
        "{a} {size} {colour} {kind}",
        "{a} {size} {colour} {kind} {place}",
        "{a} {colour} {kind} {place}",
    ),
    tag="{colour} {kind}",
    background="{colour}er Hintergrund",
    captions=_lengths(
        "{shapes}.",
        "{shapes} auf {ground} Grund.",
        "Die Zeichnung zeigt {number} auf {ground} Grund: {shapes}.",
        "Zeichnung: {shapes}.",
    ),
    numbers=("eine Form", "zwei Formen", "drei Formen"),
    comma=", ",
    last=" und ",
    questions={
        "background": ("Welche Farbe hat der Hintergrund?",),
        "count": ("Wie viele Formen gibt es?", "Wie viele Formen sind im Bild?"),
        "colour": ("Welche Farbe hat {the} {kind}?",),
        "kind": ("Welche Form ist {plain}?",),
        "place": ("Wo ist {the} {kind}?",),
        "size": ("Ist {the} {kind} groß oder klein?", "Wie groß ist {the} {kind}?"),
        "at": ("Was ist {place}?", "Welche Form ist {place}?"),
        "has_kind": ("Gibt es hier {kind}?", "Ist {a} {kind} zu sehen?"),
        "has": ("Ist {a} {colour} {kind} zu sehen?",),
        "people": ("Wie viele Menschen sind im Bild?", "Wie viele Personen sind im Bild?"),
        "person": ("Ist ein Mensch zu sehen?", "Ist eine Person im Bild?"),
    },
    yes="ja",
    no="nein",
    none="nichts",
    face=_lengths(
        "Ein Gesicht.",
        "Ein gezeichnetes Gesicht.",
        "Die Zeichnung zeigt das Gesicht einer Person.",
        "Zeichnung eines Gesichts.",
    ),
    poster=_lengths(
        "Ein Plakat.",
        "Ein Plakat mit Text.",
        "Das Bild zeigt ein Plakat mit mehreren Zeilen Text.",
        "Plakat mit Text.",
    ),
)

_FR = Language(
    nouns=_nouns("cercle/m", "croix/f", "cœur/m", "lune/f", "carré/m", "étoile/f", "triangle/m"),
    colours=_colours(
        "mf",
        "rouge",
        "orange",
        "jaune",
        "vert/verte",
        "bleu/bleue",
        "violet/violette",
        "rose",
        "marron",
        "gris/grise",
        "noir/noire",
        "blanc/blanche",
    ),
    grounds=_grounds(
        "rouge", "orange", "jaune", "vert", "bleu", "violet", "rose", "marron", "gris", "noir", "blanc"
    ),
    sizes={"large": {"m": "grand", "f": "grande"}, "small": {"m": "petit", "f": "petite"}},
    articles={"m": "un", "f": "une"},
    the={"m": "le ", "f": "la ", "étoile": "l'"},
    places=_places(
        "en haut à gauche",
        "en haut",
        "en haut à droite",
        "à gauche",
        "au centre",
        "à droite",
        "en bas à gauche",
        "en bas",
        "en bas à droite",
    ),
    phrases=_lengths(
        "{a} {kind} {colour}",
        "{a} {size} {kind} {colour}",
        "{a} {size} {kind} {colour} {place}",
        "{a} {kind} {colour} {place}",
    ),
    tag="{kind} {colour}",
    background="fond {ground}",
    captions=_lengths(
        "{shapes}.",
        "{shapes} sur fond {ground}.",
        "Le dessin montre {number} sur fond {ground} : {shapes}.",
        "Dessin : {shapes}.",
    ),
    numbers=("une forme", "deux formes", "trois formes"),
    comma=", ",
    last=" et ",
    questions={
        "background": ("De quelle couleur est le fond ?", "Quelle est la couleur du fond ?"),
        "count": ("Combien de formes y a-t-il ?", "Combien de formes y a-t-il dans l'image ?"),
        "colour": ("De quelle couleur est {the}{kind} ?",),
        "kind": ("Quelle forme est de couleur {plain} ?",),
        "place": ("Où est {the}{kind} ?",),
        "size": ("Quelle taille a {the}{kind} ?",),
        "at": ("Que voit-on {place} ?", "Quelle forme est {place} ?"),
        "has_kind": ("Y a-t-il {a} {kind} ?", "Voit-on {a} {kind} ?"),
        "has": ("Y a-t-il {a} {kind} {colour} ?",),
        "people": ("Combien de personnes y a-t-il ?", "Combien de personnes y a-t-il dans l'image ?"),
        "person": ("Y a-t-il une personne ?", "Voit-on une personne ?"),
    },
    yes="oui",
    no="non",
    none="rien",
    face=_lengths(
        "Un visage.",
        "Un visage dessiné.",
        "Le dessin montre le visage d'une personne.",
        "Dessin d'un visage.",
    ),
    poster=_lengths(
        "Une affiche.",
        "Une affiche avec du texte.",
        "L'image montre une affiche avec des lignes de texte.",
        "Affiche avec du texte.",
    ),
)

_ES = Language(
    nouns=_nouns("círculo/m", "cruz/f", "corazón/m", "luna/f", "cuadrado/m", "estrella/f", "triángulo/m"),
    colours=_colours(
        "mf",
        "rojo/roja",
        "naranja",
        "amarillo/amarilla",
        "verde",
        "azul",
        "morado/morada",
        "rosa",
        "marrón",
        "gris",
        "negro/negra",
        "blanco/blanca",
    ),
    grounds=_grounds(
        "rojo",
        "naranja",
        "amarillo",
        "verde",
        "azul",
        "morado",
        "rosa",
        "marrón",
        "gris",
        "negro",
        "blanco",
    ),
    sizes={"large": {"m": "grande", "f": "grande"}, "small": {"m": "pequeño", "f": "pequeña"}},
    articles={"m": "un", "f": "una"},
    the={"m": "el", "f": "la"},
    places=_places(
        "arriba a la izquierda",
        "arriba",
        "arriba a la derecha",
        "a la izquierda",
        "en el centro",
        "a la derecha",
        "abajo a la izquierda",
        "abajo",
        "abajo a la derecha",
    ),
    phrases=_lengths(
        "{a} {kind} {colour}",
        "{a} {kind} {colour} {size}",
        "{a} {kind} {colour} {size} {place}",
        "{a} {kind} {colour} {place}",
    ),
    tag="{kind} {colour}",
    background="fondo {ground}",
    captions=_lengths(
        "{shapes}.",
        "{shapes} sobre fondo {ground}.",
        "El dibujo muestra {number} sobre fondo {ground}: {shapes}.",
        "Dibujo de {shapes}.",
    ),
    numbers=("una forma", "dos formas", "tres formas"),
    comma=", ",
    last=" y ",
    questions={
        "background": ("¿De qué color es el fondo?", "¿Qué color tiene el fondo?"),
        "count": ("¿Cuántas formas hay?", "¿Cuántas formas hay en la imagen?"),
        "colour": ("¿De qué color es {the} {kind}?", "¿Qué color tiene {the} {kind}?"),
        "kind": ("¿Qué forma es de color {plain}?",),
        "place": ("¿Dónde está {the} {kind}?",),
        "size": ("¿Qué tamaño tiene {the} {kind}?",),
        "at": ("¿Qué hay {place}?", "¿Qué forma está {place}?"),
        "has_kind": ("¿Hay {a} {kind}?", "¿Se ve {a} {kind}?"),
        "has": ("¿Hay {a} {kind} {colour}?",),
        "people": ("¿Cuántas personas hay?", "¿Cuántas personas hay en la imagen?"),
        "person": ("¿Hay una persona?", "¿Se ve una persona?"),
    },
    yes="sí",
    no="no",
    none="nada",
    face=_lengths(
        "Una cara.", "Una cara dibujada.", "El dibujo muestra la cara de una persona.", "Dibujo de una cara."
    ),
    poster=_lengths(
        "Un cartel.",
        "Un cartel con texto.",
        "La imagen muestra un cartel con líneas de texto.",
        "Cartel con texto.",
    ),
)

_ZH = Language(
    nouns=_nouns("圆形", "十字", "心形", "月亮", "正方形", "星形", "三角形"),
    colours=_plain("红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "粉色", "棕色", "灰色", "黑色", "白色"),
    grounds=_grounds("红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "粉色", "棕色", "灰色", "黑色", "白色"),
    sizes={"large": {"": "大"}, "small": {"": "小"}},
    articles={"": "一个"},
    the={"": ""},
    places=_places("左上角", "上方", "右上角", "左侧", "中央", "右侧", "左下角", "下方", "右下角"),
    phrases=_lengths(
        "{a}{colour}{kind}",
        "{a}{size}{colour}{kind}",
        "{place}{a}{size}{colour}{kind}",
        "{place}{a}{colour}{kind}",
    ),
    tag="{colour}{kind}",
    background="{ground}背景",
    captions=_lengths(
        "{shapes}。",
        "{ground}背景上有{shapes}。",
        "图画的{ground}背景上有{number}：{shapes}。",
        "图画：{shapes}。",
    ),
    numbers=("一个图形", "两个图形", "三个图形"),
    comma="、",
    last="和",
    questions={
        "background": ("背景是什么颜色？", "背景是哪种颜色？"),
        "count": ("有几个图形？", "图中有几个图形？"),
        "colour": ("{kind}是什么颜色？",),
        "kind": ("{colour}的图形是什么？", "哪个图形是{colour}？"),
        "place": ("{kind}在哪里？",),
        "size": ("{kind}是大还是小？",),
        "at": ("{place}是什么？", "{place}是什么图形？"),
        "has_kind": ("有{kind}吗？", "图中有{kind}吗？"),
        "has": ("有{colour}{kind}吗？",),
        "people": ("图中有几个人？", "有几个人？"),
        "person": ("有人吗？", "图中有人吗？"),
    },
    yes="是",
    no="否",
    none="没有",
    face=_lengths("一张脸。", "一张画出来的脸。", "图画里是一个人的脸。", "图画：一张脸。"),
    poster=_lengths("一张海报。", "一张有文字的海报。", "图中是一张有几行文字的海报。", "有文字的海报。"),
)

_JA_COLOURS = (
    "赤色",
    "オレンジ色",
    "黄色",
    "緑色",
    "青色",
    "紫色",
    "ピンク色",
    "茶色",
    "灰色",
    "黒色",
    "白色",
)

_JA = Language(
    nouns=_nouns("円", "十字", "ハート", "月", "正方形", "星", "三角形"),
    colours=_plain(*_JA_COLOURS),
    grounds=_grounds(*_JA_COLOURS),
    sizes={"large": {"": "大きな"}, "small": {"": "小さな"}},
    articles={"": ""},
    the={"": ""},
    places=_places("左上", "上", "右上", "左", "中央", "右", "左下", "下", "右下"),
    phrases=_lengths(
        "{colour}の{kind}",
        "{size}{colour}の{kind}",
        "{place}に{size}{colour}の{kind}",
        "{place}に{colour}の{kind}",
    ),
    tag="{colour}の{kind}",
    background="{ground}の背景",
    captions=_lengths(
        "{shapes}。",
        "{ground}の背景に{shapes}。",
        "絵には{ground}の背景に{number}：{shapes}。",
        "絵：{shapes}。",
    ),
    numbers=("一つの図形", "二つの図形", "三つの図形"),
    comma="、",
    last="と",
    questions={
        "background": ("背景は何色ですか？", "背景の色は何ですか？"),
        "count": ("図形はいくつありますか？", "絵に図形はいくつありますか？"),
        "colour": ("{kind}は何色ですか？",),
        "kind": ("{colour}の図形は何ですか？",),
        "place": ("{kind}はどこにありますか？",),
        "size": ("{kind}は大きいですか、小さいですか？",),
        "at": ("{place}に何がありますか？",),
        "has_kind": ("{kind}はありますか？", "{kind}が見えますか？"),
        "has": ("{colour}の{kind}はありますか？",),
        "people": ("何人いますか？", "絵に人は何人いますか？"),
        "person": ("人はいますか？", "絵に人はいますか？"),
    },
    yes="はい",
    no="いいえ",
    none="なし",
    face=_lengths("顔。", "描かれた顔。", "絵には一人の人の顔が描かれています。", "顔の絵。"),
    poster=_lengths(
        "ポスター。", "文字のあるポスター。", "何行かの文字があるポスターの絵です。", "文字のポスター。"
    ),
)

_KO_COLOURS = (
    "빨간색",
    "주황색",
    "노란색",
    "초록색",
    "파란색",
    "보라색",
    "분홍색",
    "갈색",
    "회색",
    "검은색",
    "흰색",
)

_KO = Language(
    # After the slash: no gender; then the particle "and", which depends on the last sound.
    nouns=_nouns("원//과", "십자가//와", "하트//와", "달//과", "정사각형//과", "별//과", "삼각형//과"),
    colours=_plain(*_KO_COLOURS),
    grounds=_grounds(*_KO_COLOURS),
    sizes={"large": {"": "큰"}, "small": {"": "작은"}},
    articles={"": ""},
    the={"": ""},
    places=_places(
        "왼쪽 위", "위쪽", "오른쪽 위", "왼쪽", "가운데", "오른쪽", "왼쪽 아래", "아래쪽", "오른쪽 아래"
    ),
    phrases=_lengths(
        "{colour} {kind}",
        "{size} {colour} {kind}",
        "{place}에 {size} {colour} {kind}",
        "{place}에 {colour} {kind}",
    ),
    tag="{colour} {kind}",
    background="{ground} 배경",
    captions=_lengths(
        "{shapes}.",
        "{ground} 배경에 {shapes}.",
        "그림에는 {ground} 배경에 {number}: {shapes}.",
        "그림: {shapes}.",
    ),
    numbers=("도형 하나", "도형 둘", "도형 셋"),
    comma=", ",
    last=" ",
    questions={
        "background": ("배경은 무슨 색인가요?", "배경의 색은 무엇인가요?"),
        "count": ("도형이 몇 개 있나요?", "그림에 도형이 몇 개 있나요?"),
        "colour": ("{kind}의 색은 무엇인가요?",),
        "kind": ("{colour} 도형은 무엇인가요?",),
        "place": ("{kind}의 위치는 어디인가요?",),
        "size": ("{kind}의 크기는 어떤가요?",),
        "at": ("{place}에 무엇이 있나요?",),
        "has_kind": ("그림에 {kind} 도형이 있나요?",),
        "has": ("그림에 {colour} {kind} 도형이 있나요?",),
        "people": ("사람이 몇 명 있나요?", "그림에 사람이 몇 명 있나요?"),
        "person": ("사람이 있나요?", "그림에 사람이 있나요?"),
    },
    yes="예",
    no="아니요",
    none="없음",
    face=_lengths("얼굴.", "그려진 얼굴.", "그림에는 한 사람의 얼굴이 있습니다.", "얼굴 그림."),
    poster=_lengths(
        "포스터.", "글자가 있는 포스터.", "그림에는 여러 줄의 글자가 있는 포스터가 있습니다.", "글자 포스터."
    ),
)

#: By BCP 47 code.
LANGUAGES: dict[str, Language] = {
    "en": _EN,
    "zh": _ZH,
    "fr": _FR,
    "de": _DE,
    "es": _ES,
    "ja": _JA,
    "ko": _KO,
}
