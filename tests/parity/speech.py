"""What transformers' ``generate`` writes for the cases: tokens, logits, and which tokens may end it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from parity.cases import CASES, STEPS, Case
from transformers import (
    AutoTokenizer,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    VisionEncoderDecoderModel,
)

__all__ = ["record_speech"]

_KINDS = {
    "ved": VisionEncoderDecoderModel,
    "blip-caption": BlipForConditionalGeneration,
    "blip-vqa": BlipForQuestionAnswering,
}


def record_speech(name: str, source: Path, pixels: torch.Tensor) -> tuple[dict[str, NDArray[Any]], list[int]]:
    """Return the arrays of one architecture, and the end tokens of its ended cases.

    Parameters
    ----------
    name : str
        The architecture.
    source : Path
        Its transformers folder.
    pixels : Tensor
        The five chosen pictures, float32, (5, 3, H, W), preprocessed.

    Returns
    -------
    arrays : dict
        ``states`` (5, S, D); ``<case>`` int16, (5, 32), without the end token, -1 after it;
        ``logits`` (5, 2, V) of the first and last step of the greedy case; ``confidence`` (5,), the
        geometric mean of its tokens' probabilities.
    ends : list of int
        The token ids that end the ended cases.
    """
    speaker = _Speaker(name, source)
    arrays = speaker.look(pixels)
    arrays["greedy"] = speaker.write(CASES["greedy"], pixels, speaker.ends)
    ends = _frequent_ends(arrays["greedy"], count=3 if name == "ved" else 1)
    for case_name, case in CASES.items():
        if case_name != "greedy":
            arrays[case_name] = speaker.write(case, pixels, ends if case.is_ended else speaker.ends)
    return arrays, ends


class _Speaker:
    """One model, its tokenizer, and the tokens that end it."""

    def __init__(self, name: str, source: Path) -> None:
        self._name = name
        self._model = _KINDS[name].from_pretrained(source).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(source)
        config = self._model.config
        self.ends = [config.eos_token_id if name == "ved" else config.text_config.sep_token_id]

    def look(self, pixels: torch.Tensor) -> dict[str, NDArray[Any]]:
        model = self._model
        seen = model.encoder(pixels) if self._name == "ved" else model.vision_model(pixels)
        logits, confidence = [], []
        for row, prompt in enumerate(CASES["greedy"].prompts):
            result = self._generate(
                pixels[row : row + 1],
                [prompt],
                CASES["greedy"],
                output_logits=True,
                return_dict_in_generate=True,
            )
            tokens = result.sequences[0, -STEPS:]
            steps = torch.stack(result.logits)[:, 0]
            best = steps.topk(2).values
            assert (best[:, 0] - best[:, 1]).min() > 1e-3, (
                "a token is a matter of rounding: choose another seed"
            )
            shares = steps.log_softmax(-1)[torch.arange(STEPS), tokens]
            confidence.append(float(shares.mean().exp()))
            logits.append(steps[[0, -1]].numpy())
        return {
            "states": seen[0].numpy(),
            "logits": np.stack(logits),
            "confidence": np.asarray(confidence, np.float32),
        }

    def write(self, case: Case, pixels: torch.Tensor, ends: list[int]) -> NDArray[np.int16]:
        """Return the new tokens: int16, (5, 32), -1 where there is none."""
        self._end_with(ends)
        if case.is_together:
            rows = list(self._generate(pixels, case.prompts, case))
        else:
            rows = [
                self._generate(pixels[row : row + 1], [prompt], case)[0]
                for row, prompt in enumerate(case.prompts)
            ]
        written = np.full((len(rows), STEPS), -1, np.int16)
        for row, (tokens, prompt) in enumerate(zip(rows, case.prompts, strict=True)):
            made = tokens[self._read(prompt) :].tolist()
            stop = next((index for index, token in enumerate(made) if token in ends), len(made))
            written[row, :stop] = made[:stop]
        return written

    def _end_with(self, ends: list[int]) -> None:
        if self._name == "ved":
            self._model.generation_config.eos_token_id = list(ends)
        else:
            (self._model.config.text_config.sep_token_id,) = ends

    def _read(self, prompt: str) -> int:
        """Return how many tokens of the output come before the first that was made."""
        if self._name == "blip-vqa":
            return 1
        return 1 + len(self._tokenizer(prompt, add_special_tokens=False).input_ids)

    def _generate(self, pixels: torch.Tensor, prompts: Any, case: Case, **options: Any) -> Any:
        options |= {
            "max_new_tokens": STEPS,
            "do_sample": False,
            "num_beams": case.beams,
            "repetition_penalty": case.repetition_penalty,
            **case.settings,
        }
        if self._name == "ved":
            ids = self._tokenizer(list(prompts), return_tensors="pt").input_ids
            start = torch.full((len(ids), 1), self._model.config.decoder_start_token_id)
            ids = torch.cat([start, ids.to(start.dtype)], dim=1)
            return self._model.generate(pixels, decoder_input_ids=ids, **options)
        read = self._tokenizer(list(prompts), return_tensors="pt")
        return self._model.generate(
            pixel_values=pixels, input_ids=read.input_ids, attention_mask=read.attention_mask, **options
        )


def _frequent_ends(written: NDArray[np.int16], count: int) -> list[int]:
    """Choose tokens that come up in most rows for the first time neither at once nor late."""
    rows = written.tolist()
    first = {token: [row.index(token) for row in rows if token in row] for row in rows for token in row}
    timely = {
        token: sum(index <= 25 for index in indices) for token, indices in first.items() if min(indices) >= 2
    }
    chosen = sorted(timely, key=lambda token: (-timely[token], token))[:count]
    assert chosen, "nothing that was written can be an end"
    return chosen
