"""The model cards of drawings-vlm and drawings-clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from enrich.drawings.lexicon import LANGUAGES, LENGTHS

__all__ = ["write_clip_card", "write_vlm_card"]

_VLM = """\
# drawings-vlm

**Knows drawings only.** A tiny vision encoder-decoder that says what is drawn by `enrich.drawings.scenes`
(one to three shapes on a background), in English, Chinese, French, German, Spanish, Japanese and Korean, in
four lengths, and answers questions about it. It tells a drawn face and a poster from a scene, and says no
more of them. It exists so that `enrich demo` and the tests run a real model through the whole pipeline
without a download. It has never seen a photograph.

- `encoder_model.onnx`: ViT of transformers 4.57, 96 px in patches of 12, four layers 128 wide.
- `decoder_model_merged.onnx`: GPT-2 with cross-attention and key-value cache, three layers 128 wide.
- {parameters:,} parameters together, stored in half precision, run in single precision.
- Prompts: `en normal` and a line break for a caption (any of the languages; short, normal, long, alt_text);
  a question and a line break for an answer, in the question's language.
- Export: optimum-onnx 0.1.0, task image-to-text-with-past. It differs from torch by {difference:.0e} at
  most, at a batch and a length other than the traced ones.
- Licence: Apache-2.0. Network, training code, drawings and words are this project's own.

## Training

`make training` draws 32,000 pictures with the seeds from 0, teaches the encoder for {see:,} steps what each
patch shows, then the whole network for {speak:,} steps captions and questions made by
`enrich.drawings.wording`. Seeds from 1,000,000 on are held out.

## Held-out accuracy

2,000 drawings, the share of texts that are right word for word, greedy; the default suite asks for the same
through `enrich run` and SQL.

{table}

Words it was not trained with lead to an answer all the same, and a wrong one. {domain}
"""

_CLIP = """\
# drawings-clip

**Knows drawings only.** A tiny CLIP over the scenes of `enrich.drawings.scenes` and captions of them in seven
languages: zero-shot tags and text-to-image search for `enrich demo` and the tests. It has never seen a
photograph.

- CLIPModel of transformers 4.57: 96 px in patches of 12, four layers 128 wide; texts three layers 128 wide;
  {dimensions} dimensions; {parameters:,} parameters, stored in half precision.
- Export: optimum-onnx 0.1.0, task zero-shot-image-classification, one graph. It differs from torch by
  {difference:.0e} at most.
- Licence: Apache-2.0. Network, training code, drawings and words are this project's own.

## Training

`make training` starts from what the encoder of drawings-vlm has learnt to see, and fits 128 pictures at a
time to captions and tags in seven languages, for {steps:,} steps. Seeds from 1,000,000 on are held out.

## Held-out accuracy

2,000 scenes that all differ; R@k is the share of long captions whose picture is among the first k of all.

{figures}

{domain}
"""

_DOMAIN = """\
Photographs are refused by `flat_share` (see the card of drawings-age), not by this network."""


def write_vlm_card(
    path: Path, shares: dict[str, float], difference: float, steps: tuple[int, int], parameters: int
) -> None:
    """Write the card of drawings-vlm; ``shares`` by "language sort"."""
    lines = [
        "| language | " + " | ".join((*LENGTHS, "answers")) + " |",
        "| --- |" + " ---: |" * (len(LENGTHS) + 1),
    ]
    for language in LANGUAGES:
        answers = [share for sort, share in shares.items() if sort.startswith(f"{language} answer")]
        row = [shares[f"{language} {length}"] for length in LENGTHS] + [float(np.mean(answers))]
        lines.append(f"| {language} | " + " | ".join(f"{share:.1%}" for share in row) + " |")
    see, speak = steps
    path.write_text(
        _VLM.format(
            parameters=parameters,
            difference=difference,
            see=see,
            speak=speak,
            table="\n".join(lines),
            domain=_DOMAIN,
        ),
        encoding="utf-8",
    )


def write_clip_card(
    path: Path, figures: dict[str, float], difference: float, steps: int, sizes: tuple[int, int]
) -> None:
    """Write the card of drawings-clip; ``sizes`` are its dimensions and its parameters."""
    dimensions, parameters = sizes
    lines = [
        "| what | share |",
        "| --- | ---: |",
        *(f"| {what} | {share:.1%} |" for what, share in figures.items()),
    ]
    path.write_text(
        _CLIP.format(
            parameters=parameters,
            difference=difference,
            steps=steps,
            dimensions=dimensions,
            figures="\n".join(lines),
            domain=_DOMAIN,
        ),
        encoding="utf-8",
    )
