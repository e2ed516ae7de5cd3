"""What a drawn face may look like in each apparent age group."""

from __future__ import annotations

import random
from dataclasses import dataclass

from enrich.drawings.canvas import Colour, mixed

__all__ = ["AGE_GROUPS", "Look", "Range", "look_of"]

AGE_GROUPS = ("0-12", "13-20", "21-44", "45-64", "65+")

Range = tuple[float, float]

_SKINS: tuple[Colour, ...] = (
    (255, 224, 196),
    (247, 206, 170),
    (236, 188, 145),
    (219, 165, 118),
    (196, 138, 92),
    (164, 108, 68),
    (129, 82, 52),
    (98, 62, 42),
)
_HAIRS: tuple[Colour, ...] = (
    (38, 30, 30),
    (66, 44, 34),
    (104, 66, 40),
    (146, 96, 52),
    (214, 170, 92),
    (176, 84, 40),
)
_DYED: tuple[Colour, ...] = ((70, 110, 200), (220, 90, 150), (60, 160, 140), (130, 80, 180))
_IRISES: tuple[Colour, ...] = ((84, 54, 34), (60, 40, 28), (62, 112, 160), (74, 128, 84), (110, 110, 60))
_BACKGROUNDS: tuple[Colour, ...] = (
    (188, 220, 238),
    (250, 226, 160),
    (198, 226, 190),
    (240, 200, 196),
    (214, 204, 236),
    (246, 246, 242),
    (120, 170, 190),
    (90, 120, 150),
    (232, 150, 110),
    (70, 96, 92),
)
_BRIGHT: tuple[Colour, ...] = (
    (230, 70, 70),
    (250, 180, 40),
    (70, 170, 100),
    (60, 130, 210),
    (150, 90, 190),
    (240, 120, 160),
)
_SOBER: tuple[Colour, ...] = ((50, 66, 92), (96, 104, 112), (120, 60, 66), (64, 92, 78), (206, 198, 182))
_WHITE_HAIR: Colour = (238, 238, 234)
_GREY_HAIR: Colour = (168, 168, 170)


@dataclass(frozen=True, slots=True)
class Look:
    """One face: its proportions (in half heights of the head), colours and marks of age.

    The head reaches from y = -1 (crown) to y = 1 (chin).
    """

    skin: Colour
    hair: Colour
    streak: Colour
    iris: Colour
    clothing: Colour
    background: Colour
    disc: Colour
    hairstyle: str
    clothes: str
    mouth: str
    beard: str
    lashes: bool
    glasses: str
    extra: str
    streaks: int
    head_size: float
    width: float
    jaw: float
    chin: float
    ear: float
    eye_y: float
    eye_width: float
    eye_height: float
    iris_size: float
    lid: float
    brow: float
    nose_y: float
    mouth_y: float
    shoulders: float
    cheeks: bool
    forehead_lines: int
    folds: float
    bags: bool
    crows_feet: int

    @property
    def shade(self) -> Colour:
        """The skin in shadow: nose, ears, neck and wrinkles."""
        # Dark skin needs more of it to be seen.
        return mixed(self.skin, (50, 14, 8), 0.24 if sum(self.skin) > 480 else 0.48)

    @property
    def blush(self) -> Colour:
        """The skin of warm cheeks."""
        return mixed(self.skin, (240, 80, 80), 0.32)


@dataclass(frozen=True, slots=True)
class _Group:
    """The habits of one age group: ranges of proportions, and how often something occurs."""

    head_size: Range
    width: Range
    jaw: Range
    chin: Range
    ear: Range
    eye_y: Range
    eye_width: Range
    eye_height: Range
    iris_size: Range
    lid: Range
    brow: Range
    nose_y: Range
    mouth_y: Range
    shoulders: Range
    long_hair: tuple[str, ...]
    short_hair: tuple[str, ...]
    clothes: tuple[str, ...]
    mouths: tuple[str, ...]
    beards: tuple[str, ...]
    glasses_share: float
    extras: tuple[str, ...]
    forehead_lines: tuple[int, ...] = (0,)
    folds: Range = (0.0, 0.0)
    bags_share: float = 0.0
    crows_feet: tuple[int, ...] = (0,)


_GROUPS = {
    "0-12": _Group(
        head_size=(0.27, 0.31), width=(0.92, 1.02), jaw=(0.86, 0.92), chin=(0.52, 0.6), ear=(0.15, 0.18),
        eye_y=(0.16, 0.24), eye_width=(0.19, 0.22), eye_height=(0.21, 0.25), iris_size=(0.14, 0.16),
        lid=(0.0, 0.0), brow=(0.03, 0.045), nose_y=(0.42, 0.47), mouth_y=(0.6, 0.64), shoulders=(1.0, 1.2),
        long_hair=("pigtails", "bob", "fringe"), short_hair=("tuft", "bowl", "curls", "tuft"),
        clothes=("dungarees", "stripes", "tee"), mouths=("laugh", "gap", "small"), beards=("",),
        glasses_share=0.08, extras=("", "bow", "freckles", ""),
    ),
    "13-20": _Group(
        head_size=(0.29, 0.32), width=(0.76, 0.82), jaw=(0.76, 0.82), chin=(0.36, 0.42), ear=(0.15, 0.18),
        eye_y=(0.04, 0.09), eye_width=(0.17, 0.19), eye_height=(0.14, 0.165), iris_size=(0.105, 0.12),
        lid=(0.1, 0.2), brow=(0.05, 0.065), nose_y=(0.38, 0.42), mouth_y=(0.62, 0.66), shoulders=(1.4, 1.6),
        long_hair=("long", "ponytail", "long"), short_hair=("spikes", "swept", "cap", "curls"),
        clothes=("hoodie", "hoodie", "tee"), mouths=("braces", "smile", "small"), beards=("",),
        glasses_share=0.12, extras=("headphones", "pimples", "pimples", "headphones"),
    ),
    "21-44": _Group(
        head_size=(0.29, 0.32), width=(0.74, 0.8), jaw=(0.78, 0.88), chin=(0.4, 0.5), ear=(0.16, 0.19),
        eye_y=(-0.05, 0.0), eye_width=(0.15, 0.17), eye_height=(0.1, 0.12), iris_size=(0.085, 0.095),
        lid=(0.15, 0.25), brow=(0.06, 0.085), nose_y=(0.33, 0.37), mouth_y=(0.6, 0.64), shoulders=(1.65, 1.9),
        long_hair=("long", "bob", "bun", "afro"), short_hair=("short", "parted", "short", "afro"),
        clothes=("shirt", "tee", "blouse"), mouths=("smile", "lips", "laugh"), beards=("", "full", "stubble"),
        glasses_share=0.2, extras=("", "earrings", ""),
    ),
    "45-64": _Group(
        head_size=(0.29, 0.32), width=(0.77, 0.84), jaw=(0.86, 0.94), chin=(0.46, 0.54), ear=(0.18, 0.21),
        eye_y=(-0.07, -0.02), eye_width=(0.14, 0.16), eye_height=(0.085, 0.105), iris_size=(0.075, 0.085),
        lid=(0.25, 0.38), brow=(0.06, 0.085), nose_y=(0.35, 0.39), mouth_y=(0.62, 0.66),
        shoulders=(1.7, 1.95),
        long_hair=("bob", "bun", "parted"), short_hair=("receding", "short", "sides", "receding"),
        clothes=("suit", "shirt", "blouse"), mouths=("smile", "lips", "thin"),
        beards=("", "moustache", "full"), glasses_share=0.4, extras=("", "earrings", ""),
        forehead_lines=(1, 2), folds=(0.7, 0.9), bags_share=0.6, crows_feet=(1, 2),
    ),
    "65+": _Group(
        head_size=(0.28, 0.31), width=(0.76, 0.83), jaw=(0.88, 0.97), chin=(0.42, 0.5), ear=(0.22, 0.26),
        eye_y=(-0.06, 0.0), eye_width=(0.13, 0.15), eye_height=(0.075, 0.09), iris_size=(0.065, 0.075),
        lid=(0.38, 0.5), brow=(0.08, 0.11), nose_y=(0.39, 0.44), mouth_y=(0.65, 0.69), shoulders=(1.4, 1.6),
        long_hair=("bun", "perm", "bob"), short_hair=("sides", "bald", "receding", "sides"),
        clothes=("cardigan", "cardigan", "shirt"), mouths=("thin", "thin", "smile"),
        beards=("", "full", "moustache"), glasses_share=0.6, extras=("",),
        forehead_lines=(2, 3), folds=(1.0, 1.2), bags_share=1.0, crows_feet=(3,),
    ),
}  # fmt: skip


def look_of(rng: random.Random, age_group: str) -> Look:
    """Choose a face of ``age_group`` (one of `AGE_GROUPS`)."""
    habits = _GROUPS[age_group]
    long_haired = rng.random() < 0.5
    hairstyle = rng.choice(habits.long_hair if long_haired else habits.short_hair)
    skin = rng.choice(_SKINS)
    hair, streak = _hair_colours(rng, age_group, skin)
    background = rng.choice(_apart(_BACKGROUNDS, skin, hair))
    clothing = _BRIGHT if age_group in ("0-12", "13-20") else _BRIGHT[:4] + _SOBER * 2
    # Two times in five a paler disc lies behind the head, where it does not melt into the face.
    disc = mixed(background, (250, 250, 250), 0.45 if rng.random() < 0.4 else 0.0)
    return Look(
        skin=skin,
        hair=hair,
        streak=streak,
        iris=rng.choice(_IRISES),
        clothing=rng.choice(_apart(clothing, background)),
        background=background,
        disc=disc if _apart((disc,), skin, hair) else background,
        hairstyle=hairstyle,
        clothes=rng.choice(habits.clothes),
        mouth=rng.choice(habits.mouths),
        beard="" if long_haired else rng.choice(habits.beards),
        lashes=long_haired,
        glasses=rng.choice(("round", "square")) if rng.random() < habits.glasses_share else "",
        extra=_extra(rng, habits, hairstyle, long_haired=long_haired),
        streaks=rng.randint(4, 6) if age_group == "45-64" else 0,
        head_size=rng.uniform(*habits.head_size),
        width=rng.uniform(*habits.width),
        jaw=rng.uniform(*habits.jaw),
        chin=rng.uniform(*habits.chin),
        ear=rng.uniform(*habits.ear),
        eye_y=rng.uniform(*habits.eye_y),
        eye_width=rng.uniform(*habits.eye_width),
        eye_height=rng.uniform(*habits.eye_height),
        iris_size=rng.uniform(*habits.iris_size),
        lid=rng.uniform(*habits.lid),
        brow=rng.uniform(*habits.brow),
        nose_y=rng.uniform(*habits.nose_y),
        mouth_y=rng.uniform(*habits.mouth_y),
        shoulders=rng.uniform(*habits.shoulders),
        cheeks=age_group == "0-12",
        forehead_lines=rng.choice(habits.forehead_lines),
        folds=rng.uniform(*habits.folds),
        bags=rng.random() < habits.bags_share,
        crows_feet=rng.choice(habits.crows_feet),
    )


def _hair_colours(rng: random.Random, age_group: str, skin: Colour) -> tuple[Colour, Colour]:
    if age_group == "65+":
        white = mixed(_WHITE_HAIR, _GREY_HAIR, rng.uniform(0.0, 0.35))
        return white, white
    if age_group == "45-64":
        share = rng.uniform(0.15, 0.5)
        greying = tuple(mixed(colour, _GREY_HAIR, share) for colour in _HAIRS)
        return rng.choice(_apart(greying, skin)), mixed(_GREY_HAIR, _WHITE_HAIR, 0.35)
    is_dyed = age_group == "13-20" and rng.random() < 0.3
    hair = rng.choice(_DYED if is_dyed else _apart(_HAIRS, skin))
    return hair, hair


def _extra(rng: random.Random, habits: _Group, hairstyle: str, *, long_haired: bool) -> str:
    extra = rng.choice(habits.extras)
    if extra in ("bow", "earrings") and not long_haired:
        return ""
    # Headphones fit over neither a cap nor spikes.
    return "" if extra == "headphones" and hairstyle in ("cap", "spikes") else extra


def _apart(colours: tuple[Colour, ...], *others: Colour) -> list[Colour]:
    """Return those of ``colours`` that can be told from each of ``others`` at a glance."""
    return [
        colour
        for colour in colours
        if all(max(abs(a - b) for a, b in zip(colour, other, strict=True)) > 32 for other in others)
    ]
