"""Eyes, nose, mouth, beard, glasses and the marks of age of drawn faces."""

from __future__ import annotations

import math

from enrich.drawings.canvas import Canvas, Colour, arc, mirrored, mixed, smooth
from enrich.drawings.look import Look

__all__ = ["draw_features"]

_DARK: Colour = (46, 34, 34)
_WHITE: Colour = (250, 250, 250)
_LIPS: Colour = (190, 66, 70)
_INSIDE: Colour = (128, 36, 44)
_TONGUE: Colour = (226, 110, 110)
_EYE_DISTANCE = 0.42  # of the head's half width, from the middle to a pupil


def draw_features(canvas: Canvas, look: Look) -> None:
    """Draw all that lies within the face; ``canvas`` is the head's frame."""
    _draw_cheeks(canvas, look)
    _draw_wrinkles(canvas, look)
    _draw_beard(canvas, look)
    for side in (-1, 1):
        _draw_eye(canvas, look, side)
        _draw_brow(canvas, look, side)
    _draw_nose(canvas, look)
    _draw_mouth(canvas, look)
    if look.beard in ("full", "moustache"):
        _draw_moustache(canvas, look)
    if look.glasses:
        _draw_glasses(canvas, look)


def _draw_cheeks(canvas: Canvas, look: Look) -> None:
    if look.cheeks:
        for side in (-1, 1):
            canvas.ellipse((side * 0.62 * look.width, look.nose_y + 0.06), (0.17, 0.13), look.blush)
    if look.extra == "freckles":
        for side in (-1, 1):
            for x, y in ((0.4, 0.0), (0.54, 0.04), (0.47, 0.1), (0.62, -0.03)):
                canvas.ellipse((side * x * look.width, look.nose_y + y), (0.025, 0.025), look.shade)
    if look.extra == "pimples":
        for x, y in ((-0.62, 0.4), (-0.5, 0.52), (0.56, 0.36), (0.66, 0.48), (0.12, -0.28), (-0.2, -0.34)):
            canvas.ellipse((x * look.width, y), (0.04, 0.04), mixed(look.skin, (220, 50, 50), 0.5))


def _draw_wrinkles(canvas: Canvas, look: Look) -> None:
    for number in range(look.forehead_lines):
        y = -0.36 - 0.14 * number
        line = [(-0.42 * look.width, y + 0.02), (0.0, y - 0.02), (0.42 * look.width, y + 0.02)]
        canvas.stroke(smooth(line), 0.038, look.shade)
    for side in (-1, 1):
        eye_x = side * _EYE_DISTANCE * look.width
        if look.folds:
            reach = 0.24 * look.folds
            fold = [(side * 0.16, look.nose_y - 0.02), (side * (0.12 + reach), look.mouth_y - 0.08)]
            fold.append((side * (0.13 + reach), look.mouth_y - 0.06 + 0.16 * look.folds))
            canvas.stroke(smooth(fold), 0.045, look.shade)
        if look.bags:
            bag = arc((eye_x, look.eye_y + 0.08), (look.eye_width * 1.05, 0.12), (15.0, 165.0))
            canvas.stroke(bag, 0.04, look.shade)
        for number in range(look.crows_feet):
            start = (eye_x + side * (look.eye_width + 0.06), look.eye_y + 0.02)
            angle = math.radians((number - (look.crows_feet - 1) / 2) * 38)
            end = (start[0] + side * 0.13 * math.cos(angle), start[1] + 0.15 * math.sin(angle))
            canvas.stroke([start, end], 0.034, look.shade)


def _draw_eye(canvas: Canvas, look: Look, side: int) -> None:
    x, y = side * _EYE_DISTANCE * look.width, look.eye_y
    canvas.ellipse((x, y), (look.eye_width, look.eye_height), _WHITE)
    iris = min(look.iris_size, look.eye_height)
    canvas.ellipse((x, y), (iris, iris), look.iris)
    canvas.ellipse((x, y), (iris * 0.55, iris * 0.55), (20, 16, 16))
    canvas.ellipse((x + iris * 0.35, y - iris * 0.35), (iris * 0.28, iris * 0.28), _WHITE)
    # The lid is the segment of the eye above a chord, which falls as the lid droops.
    half = math.degrees(math.acos(1 - look.lid * 1.6)) if look.lid else 0.0
    if half:
        lid = (look.eye_width + 0.015, look.eye_height + 0.015)
        canvas.ellipse((x, y), lid, look.shade, degrees=(270.0 - half, 270.0 + half))
    rim = arc((x, y), (look.eye_width, look.eye_height), (195.0, 345.0))
    canvas.stroke(rim, 0.03 + 0.02 * look.lashes, _DARK)
    if look.lashes:
        corner = (x + side * look.eye_width, y - look.eye_height * 0.3)
        canvas.stroke([corner, (corner[0] + side * 0.07, corner[1] - 0.07)], 0.035, _DARK)


def _draw_brow(canvas: Canvas, look: Look, side: int) -> None:
    x, y = side * _EYE_DISTANCE * look.width, look.eye_y - look.eye_height - 0.13
    inner, outer = x - side * look.eye_width, x + side * look.eye_width * 1.1
    colour = mixed(look.hair, look.shade, 0.15) if look.streak == look.hair else look.hair
    width = look.brow * (0.7 if look.lashes else 1.0)
    canvas.stroke(smooth([(inner, y + 0.03), (x, y - 0.03), (outer, y + 0.05)]), width, colour)


def _draw_nose(canvas: Canvas, look: Look) -> None:
    if look.cheeks:
        canvas.stroke(arc((0.0, look.nose_y - 0.04), (0.07, 0.06), (10.0, 170.0)), 0.045, look.shade)
        return
    bridge = [
        (0.04, look.eye_y + 0.08),
        (0.06, look.nose_y - 0.12),
        (0.13, look.nose_y),
        (-0.08, look.nose_y + 0.02),
    ]
    canvas.stroke(smooth(bridge), 0.045, look.shade)


def _draw_mouth(canvas: Canvas, look: Look) -> None:
    y = look.mouth_y
    if look.mouth in ("laugh", "gap", "braces"):
        _draw_open_mouth(canvas, look)
    elif look.mouth == "lips":
        upper = [(-0.25, y), (-0.09, y - 0.07), (0.0, y - 0.045), (0.09, y - 0.07), (0.25, y)]
        canvas.polygon([*upper, *smooth([(0.25, y), (0.0, y + 0.11), (-0.25, y)])], _LIPS)
        canvas.stroke([(-0.24, y), (0.24, y)], 0.025, _INSIDE)
    elif look.mouth == "thin":
        canvas.stroke(
            smooth([(-0.24, y + 0.02), (0.0, y + 0.05), (0.24, y + 0.02)]),
            0.05,
            mixed(look.shade, _INSIDE, 0.6),
        )
    else:
        width = 0.16 if look.mouth == "small" else 0.26
        canvas.stroke(
            arc((0.0, y - 0.06), (width, 0.13), (15.0, 165.0)), 0.055, mixed(look.shade, _INSIDE, 0.7)
        )


def _draw_open_mouth(canvas: Canvas, look: Look) -> None:
    y = look.mouth_y - 0.05
    canvas.ellipse((0.0, y), (0.29, 0.24), _INSIDE, degrees=(0.0, 180.0))
    if look.mouth == "laugh":
        canvas.ellipse((0.0, y + 0.17), (0.15, 0.07), _TONGUE)
    teeth = [(-0.27, y), (0.27, y), (0.24, y + 0.1), (-0.24, y + 0.1)]
    canvas.polygon(teeth, _WHITE)
    if look.mouth == "gap":
        canvas.polygon([(0.0, y), (0.1, y), (0.1, y + 0.11), (0.0, y + 0.11)], _INSIDE)
    if look.mouth == "braces":
        canvas.stroke([(-0.24, y + 0.05), (0.24, y + 0.05)], 0.035, (120, 130, 150))


def _draw_beard(canvas: Canvas, look: Look) -> None:
    if look.beard not in ("full", "stubble"):
        return
    w = look.width
    colour = look.hair if look.beard == "full" else mixed(look.skin, look.hair, 0.3)
    drop = 0.1 if look.beard == "full" else 0.0
    outer = [
        (1.0 * w, 0.1),
        (0.99 * w, 0.35),
        (look.jaw * w, 0.68 + drop / 2),
        (look.chin * w, 0.94 + drop),
        (0.0, 1.0 + drop),
    ]
    inner = [(0.0, look.mouth_y - 0.16), (0.42 * w, look.mouth_y - 0.13), (0.72 * w, 0.38), (0.88 * w, 0.1)]
    right = smooth(outer) + smooth(inner)
    canvas.polygon(right, colour)
    canvas.polygon([(-x, y) for x, y in right], colour)


def _draw_moustache(canvas: Canvas, look: Look) -> None:
    y = look.mouth_y
    half = [(0.0, y - 0.16), (0.16, y - 0.17), (0.36, y + 0.0), (0.14, y - 0.06), (0.0, y - 0.07)]
    canvas.polygon(
        smooth(mirrored(half), closed=True), look.hair if look.streak == look.hair else look.streak
    )


def _draw_glasses(canvas: Canvas, look: Look) -> None:
    x, radius, frame = _EYE_DISTANCE * look.width, look.eye_width + 0.08, (60, 50, 50)
    for side in (-1, 1):
        if look.glasses == "round":
            canvas.ring((side * x, look.eye_y), (radius, radius), 0.045, frame)
        else:
            left, right = side * x - radius, side * x + radius
            top, bottom = look.eye_y - radius * 0.8, look.eye_y + radius * 0.8
            box = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top), (right, top)]
            canvas.stroke(box, 0.045, frame)
        canvas.stroke(
            [(side * (x + radius), look.eye_y - 0.04), (side * look.width * 1.02, look.eye_y - 0.08)],
            0.04,
            frame,
        )
    canvas.stroke(arc((0.0, look.eye_y), (max(x - radius, 0.02), 0.05), (180.0, 360.0)), 0.045, frame)
