"""The model card of drawings-age."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from faces import HELD_OUT_SEED, INPUT_PX, LABELS
from numpy.typing import NDArray

__all__ = ["write_card"]

_CARD = """\
# drawings-age

**Knows drawings only.** A tiny vision transformer that tells the apparent age group of a face drawn by
`enrich.drawings.faces`, or that a drawing (a scene, a poster) shows no face. It exists so that
`enrich demo` and the tests run a real model through the whole pipeline without a download. It has never
seen a photograph and knows nothing about people.

- Input `pixel_values`: float32, (N, 3, {size}, {size}), RGB, (x / 255 - 0.5) / 0.5, resized with Pillow's
  bilinear filter. Output `logits`: float32, (N, 6), for {groups}.
- Network: ViTForImageClassification of transformers 4.57, patches of 8 px, three layers 64 wide,
  {parameters:,} parameters.
- Export: optimum-onnx 0.1.0, task image-classification. It differs from torch by {difference:.0e} at most,
  at a batch size other than the traced one.
- Licence: Apache-2.0. Network, training code and drawings are this project's own.

## Training

`make training` draws {training:,} pictures, one in six without a face, with the seeds from 0, at 64 to
224 px, half of them saved as JPEG (quality 75 to 95), some shrunk as a rendition is, resizes them to
{size} px and trains {epochs} epochs with AdamW. Seeds from {held_out:,} on are held out: nothing is ever
trained with them.

## Held-out accuracy

{accuracy:.1%} of {count:,} held-out drawings. Rows: what was drawn; columns: what the model says.

{confusion}

## The domain check

A classifier has an answer to everything. So that a photograph gets none, the manifest asks for a
`flat_share` (`enrich.inference.domain`) of at least {flat_share_min}; below it a job ends as
`skipped: outside_domain`. Measured with `training/domain_rates.py`, 60 drawings of each kind and size
saved as PNG, JPEG and WebP (quality 75 to 95), renditions of 512 px:

{rates}

Known to be let in: a smooth grey studio shot under zoom blur. Right by the rule though not by intent:
logos, screenshots and pictures of one colour are flat too. Black borders, clipped skies and night, and
plain backdrops do not count as flat colours. Photographs that are themselves smaller than 200 px are let
in more often (2 % at 64 and 128 px), since their texture is lost.

## Use

For demonstrations, tests and benchmarks of the pipeline. Not for pictures of people: for those a step names
a real model, after reading docs/privacy.md.
"""

# Measured with training/domain_rates.py; write the figures anew when the drawings or the check change.
_RATES = """\
| pictures | wrongly judged |
| --- | --- |
| drawn faces of 64 px | 1 of 60 refused (4 of 120 with `--each 120`) |
| drawn faces of 80 to 2,000 px | none of 840 refused |
| drawn scenes of 64 to 2,000 px | none of 900 refused |
| 152 photographs (people, animals, food, streets, night, black and white) at 224, 512 and 768 px | 1 let in |
"""


def write_card(
    path: Path,
    confusion: NDArray[np.int64],
    *,
    training: int,
    epochs: int,
    parameters: int,
    difference: float,
    flat_share_min: float,
) -> None:
    """Write the card, with the held-out ``confusion`` counts (truth, guess)."""
    path.write_text(
        _CARD.format(
            accuracy=np.trace(confusion) / confusion.sum(),
            confusion=_table(confusion),
            count=int(confusion.sum()),
            difference=difference,
            epochs=epochs,
            flat_share_min=flat_share_min,
            groups=", ".join(LABELS),
            held_out=HELD_OUT_SEED,
            parameters=parameters,
            rates=_RATES.rstrip(),
            size=INPUT_PX,
            training=training,
        ),
        encoding="utf-8",
    )


def _table(confusion: NDArray[np.int64]) -> str:
    lines = [
        "| drawn | " + " | ".join(LABELS) + " | right |",
        "| --- |" + " ---: |" * (len(LABELS) + 1),
    ]
    for group, row in zip(LABELS, confusion, strict=True):
        right = row[LABELS.index(group)] / row.sum()
        lines.append(f"| {group} | " + " | ".join(str(count) for count in row) + f" | {right:.1%} |")
    return "\n".join(lines)
