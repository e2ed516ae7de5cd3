"""Hair of drawn faces: what lies behind the head, and what lies over it."""

from __future__ import annotations

from collections.abc import Callable

from enrich.drawings.canvas import Canvas, Point, mirrored, mixed, smooth
from enrich.drawings.look import Look

__all__ = ["draw_hair_behind", "draw_hair_over"]


def draw_hair_behind(canvas: Canvas, look: Look) -> None:
    """Draw the part of the hair that the head covers; ``canvas`` is the head's frame."""
    draw = _BEHIND.get(look.hairstyle)
    if draw is not None:
        draw(canvas, look)


def draw_hair_over(canvas: Canvas, look: Look) -> None:
    """Draw the part of the hair that covers the head; ``canvas`` is the head's frame."""
    _OVER[look.hairstyle](canvas, look)


def _long(canvas: Canvas, look: Look) -> None:
    w = look.width
    half = [(0.0, -1.12), (0.8 * w, -0.95), (1.18 * w, -0.3), (1.24 * w, 0.6), (1.3 * w, 1.35), (0.0, 1.5)]
    canvas.polygon(smooth(mirrored(half), closed=True), look.hair)


def _bob(canvas: Canvas, look: Look) -> None:
    w = look.width
    half = [(0.0, -1.12), (0.85 * w, -0.92), (1.24 * w, -0.2), (1.3 * w, 0.45), (0.95 * w, 0.72), (0.0, 0.7)]
    canvas.polygon(smooth(mirrored(half), closed=True), look.hair)


def _bun_behind(canvas: Canvas, look: Look) -> None:
    canvas.ellipse((0.0, -1.22), (0.34, 0.3), look.hair)


def _afro_behind(canvas: Canvas, look: Look) -> None:
    for x, y, radius in ((0.0, -0.62, 0.8), (-0.62, -0.3, 0.55), (0.62, -0.3, 0.55), (0.0, -0.3, 0.95)):
        canvas.ellipse((x * look.width / 0.78, y), (radius, radius), look.hair)


def _pigtails_behind(canvas: Canvas, look: Look) -> None:
    for side in (-1, 1):
        canvas.ellipse((side * look.width * 1.3, 0.02), (0.26, 0.42), look.hair)
        canvas.ellipse((side * look.width * 1.1, -0.22), (0.11, 0.11), look.clothing)


def _ponytail_behind(canvas: Canvas, look: Look) -> None:
    w = look.width
    tail = [
        (0.5 * w, -1.0),
        (1.2 * w, -0.95),
        (1.62 * w, -0.2),
        (1.45 * w, 0.75),
        (1.2 * w, 0.2),
        (0.9 * w, -0.5),
    ]
    canvas.polygon(smooth(tail, closed=True), look.hair)
    canvas.ellipse((0.86 * w, -0.92), (0.14, 0.14), look.clothing)


def _curls_behind(canvas: Canvas, look: Look) -> None:
    for x, y in ((0.0, -1.0), (0.5, -0.88), (0.88, -0.55), (1.02, -0.15)):
        for side in (-1, 1):
            canvas.ellipse((side * x * look.width, y), (0.27, 0.27), look.hair)


def _tufts_behind(canvas: Canvas, look: Look) -> None:
    for side in (-1, 1):
        canvas.ellipse((side * look.width * 0.98, -0.12), (0.2, 0.42), look.hair)


def _perm_behind(canvas: Canvas, look: Look) -> None:
    _curls_behind(canvas, look)
    for side in (-1, 1):
        canvas.ellipse((side * 1.06 * look.width, 0.2), (0.25, 0.25), look.hair)


def _dome(look: Look, low: float) -> list[Point]:
    """Return the hair's outer outline over the crown, from the left temple to the right one."""
    w = look.width
    right = [(0.0, -1.12), (0.62 * w, -1.0), (0.98 * w, -0.66), (1.07 * w, -0.3), (1.05 * w, low)]
    return smooth([(-x, y) for x, y in right[:0:-1]] + right)


def _cap_of_hair(canvas: Canvas, look: Look, low: float, hairline: list[Point]) -> None:
    """Fill between the dome and ``hairline``, whose points (right to left) are in head widths."""
    line = [(x * look.width, y) for x, y in hairline]
    canvas.polygon(_dome(look, low) + smooth(line), look.hair)
    _streaks(canvas, look)


def _streaks(canvas: Canvas, look: Look) -> None:
    """Greying hair: lighter strands over the crown and patches at the temples."""
    if not look.streaks:
        return
    for number in range(look.streaks):
        x = (number + 0.5) / look.streaks * 1.5 - 0.75
        strand = [(x * 0.8 * look.width, -1.04 + 0.22 * x * x), (x * look.width, -0.8 + 0.22 * x * x)]
        canvas.stroke(strand, 0.05, look.streak)
    for side in (-1, 1):
        canvas.ellipse((side * look.width * 0.97, -0.26), (0.08, 0.22), look.streak)


def _fringe(canvas: Canvas, look: Look) -> None:
    _cap_of_hair(
        canvas,
        look,
        0.25,
        [(0.9, 0.25), (0.84, -0.1), (0.76, -0.24), (-0.76, -0.24), (-0.84, -0.1), (-0.9, 0.25)],
    )


def _bowl(canvas: Canvas, look: Look) -> None:
    _cap_of_hair(
        canvas,
        look,
        0.05,
        [(0.92, 0.05), (0.84, -0.16), (0.4, -0.26), (-0.4, -0.26), (-0.84, -0.16), (-0.92, 0.05)],
    )


def _parted(canvas: Canvas, look: Look) -> None:
    _cap_of_hair(
        canvas,
        look,
        0.1,
        [(0.93, 0.1), (0.84, -0.28), (0.34, -0.78), (-0.3, -0.5), (-0.8, -0.2), (-0.93, 0.1)],
    )


def _swept(canvas: Canvas, look: Look) -> None:
    _cap_of_hair(
        canvas,
        look,
        -0.05,
        [(0.95, -0.05), (0.86, -0.4), (0.5, -0.62), (-0.2, -0.36), (-0.78, -0.14), (-0.95, -0.02)],
    )
    w = look.width
    canvas.polygon(
        smooth([(-0.9 * w, -0.7), (-0.2 * w, -1.3), (0.75 * w, -1.28), (1.0 * w, -0.7)], closed=True),
        look.hair,
    )


def _short(canvas: Canvas, look: Look) -> None:
    _cap_of_hair(
        canvas,
        look,
        -0.02,
        [(0.95, -0.02), (0.88, -0.4), (0.6, -0.62), (-0.6, -0.62), (-0.88, -0.4), (-0.95, -0.02)],
    )


def _receding(canvas: Canvas, look: Look) -> None:
    line = [
        (0.97, 0.0),
        (0.94, -0.4),
        (0.6, -0.9),
        (0.22, -0.76),
        (-0.22, -0.76),
        (-0.6, -0.9),
        (-0.94, -0.4),
        (-0.97, 0.0),
    ]
    _cap_of_hair(canvas, look, 0.0, line)


def _sides(canvas: Canvas, look: Look) -> None:
    w = look.width
    for side in (-1, 1):
        patch = [(1.08, -0.5), (0.93, -0.55), (0.93, -0.2), (0.97, 0.08), (1.08, 0.08)]
        canvas.polygon([(side * x * w, y) for x, y in patch], look.hair)
        if look.streaks:
            canvas.ellipse((side * w * 1.06, -0.22), (0.07, 0.2), look.streak)


def _tuft(canvas: Canvas, look: Look) -> None:
    for side, reach in ((-1, 0.2), (1, 0.26)):
        curl = [(0.0, -0.98), (side * 0.1, -1.16), (side * reach, -1.12), (side * reach * 0.8, -0.98)]
        canvas.stroke(smooth(curl), 0.09, look.hair)
    w = look.width
    canvas.polygon(
        smooth([(-0.5 * w, -0.9), (0.0, -1.05), (0.5 * w, -0.9), (0.0, -0.82)], closed=True), look.hair
    )


def _spikes(canvas: Canvas, look: Look) -> None:
    _short(canvas, look)
    w = look.width
    outline = [(-1.06 * w, -0.3)]
    for number, x in enumerate((-1.0, -0.82, -0.66, -0.42, -0.26, 0.0, 0.16, 0.42, 0.58, 0.8, 0.98)):
        height = 1.05 - 0.45 * x * x
        outline.append((x * w * 1.1, -height - (0.3 if number % 2 else 0.0)))
    canvas.polygon([*outline, (1.06 * w, -0.3), (0.0, -0.66)], look.hair)


def _curls(canvas: Canvas, look: Look) -> None:
    _short(canvas, look)
    for x, y in ((-0.72, -0.55), (-0.36, -0.68), (0.0, -0.72), (0.36, -0.68), (0.72, -0.55)):
        canvas.ellipse((x * look.width, y), (0.2, 0.18), look.hair)


def _baseball_cap(canvas: Canvas, look: Look) -> None:
    _short(canvas, look)
    w = look.width
    canvas.polygon(
        smooth([(-1.12 * w, -0.42), (-0.9 * w, -1.05), (0.0, -1.3), (0.9 * w, -1.05), (1.12 * w, -0.42)]),
        look.clothing,
    )
    visor = mixed(look.clothing, (0, 0, 0), 0.35)
    canvas.polygon(
        smooth([(-1.1 * w, -0.46), (0.0, -0.6), (1.1 * w, -0.46), (0.0, -0.28)], closed=True), visor
    )


_Draw = Callable[[Canvas, Look], None]

_BEHIND: dict[str, _Draw] = {
    "afro": _afro_behind,
    "bob": _bob,
    "bun": _bun_behind,
    "curls": _curls_behind,
    "fringe": _bob,
    "long": _long,
    "perm": _perm_behind,
    "pigtails": _pigtails_behind,
    "ponytail": _ponytail_behind,
    "sides": _tufts_behind,
}
_OVER: dict[str, _Draw] = {
    "afro": _short,
    "bald": _sides,
    "bob": _parted,
    "bowl": _bowl,
    "bun": _parted,
    "cap": _baseball_cap,
    "curls": _curls,
    "fringe": _fringe,
    "long": _parted,
    "parted": _parted,
    "perm": _curls,
    "pigtails": _fringe,
    "ponytail": _swept,
    "receding": _receding,
    "short": _short,
    "sides": _sides,
    "spikes": _spikes,
    "swept": _swept,
    "tuft": _tuft,
}
