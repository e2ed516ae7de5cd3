"""How a model's own files say that its texts start and end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from enrich.errors import ManifestError
from enrich.inference.generator import ROWS_MAX
from enrich.inference.manifest import read_json
from enrich.inference.rules import read_rules
from enrich.inference.stored import StoredModel
from enrich.inference.writing import Ending

__all__ = ["Speech", "read_ending", "read_speech"]

_GENERATION_NAME = "generation_config.json"

# Source: BlipTextConfig of transformers 4.57, for files that leave out what is the default.
_BLIP_DEFAULTS = {"bos_token_id": 30522, "sep_token_id": 102, "max_position_embeddings": 512}
#: Where config.json has the text's own part, by the family.
_DECODERS = {"florence": "text_config"}
# Source: GPT2Config.
_GPT2_POSITIONS = 1024


@dataclass(frozen=True, slots=True)
class Speech:
    """Where a decoder starts and ends.

    Parameters
    ----------
    start : int
        The token that it reads first.
    ending : Ending
        How its texts end.
    positions : int or None
        How many tokens it can read; None: it is not said.
    """

    start: int
    ending: Ending
    positions: int | None


def read_speech(model: StoredModel) -> Speech:
    """Read config.json and generation_config.json as transformers' ``generate`` does.

    Raises
    ------
    ManifestError
        A key is missing or wrong. Not retryable.
    """
    path = model.file(_GENERATION_NAME)
    generation = read_json(path) if path is not None else {}
    kind = str(next(iter(model.config.get("architectures") or ()), ""))
    if kind.startswith("Blip"):
        return _blip(model, generation)
    decoder = _part(model.config, _DECODERS.get(model.family, "decoder"))
    if path is None:
        # Where there is no such file, transformers takes what older ones have in config.json.
        generation = {**decoder, **model.config}
    sources = (generation, model.config, decoder)
    start = _first(sources, "decoder_start_token_id", "bos_token_id")
    if start is None:
        raise ManifestError(
            f"{model.folder}: decoder_start_token_id: missing in {_GENERATION_NAME} and config.json"
        )
    positions = _first((decoder,), "n_positions", "max_position_embeddings")
    if positions is None and decoder.get("model_type") == "gpt2":
        positions = _GPT2_POSITIONS
    return _speech(model, generation, start, _first(sources, "eos_token_id"), positions)


def read_ending(model: StoredModel) -> Ending:
    """Read how the texts end of a model whose prompts are written by its chat template.

    Raises
    ------
    ManifestError
        A key is wrong. Not retryable.
    """
    path = model.file(_GENERATION_NAME)
    generation = read_json(path) if path is not None else {}
    sources = (generation, model.config, _part(model.config, "text_config"))
    return _speech(model, generation, 0, _first(sources, "eos_token_id"), None).ending


def _blip(model: StoredModel, generation: Mapping[str, Any]) -> Speech:
    # ``BlipForConditionalGeneration.generate`` takes its start and end from here, whatever
    # generation_config.json says.
    text = _BLIP_DEFAULTS | _part(model.config, "text_config")
    return _speech(
        model, generation, text["bos_token_id"], text["sep_token_id"], text["max_position_embeddings"]
    )


def _speech(
    model: StoredModel, generation: Mapping[str, Any], start: Any, ends: Any, positions: Any
) -> Speech:
    tokens = tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,)
    length_penalty, early_stopping = generation.get("length_penalty"), generation.get("early_stopping")
    beams = generation.get("num_beams") or 1
    checks = {
        "the token that starts a text": isinstance(start, int),
        "eos_token_id": all(isinstance(token, int) for token in tokens),
        "the decoder's positions": positions is None or isinstance(positions, int),
        "length_penalty": length_penalty is None or isinstance(length_penalty, int | float),
    }
    for name, is_right in checks.items():
        if not is_right:
            raise ManifestError(
                f"{model.folder}: {name}: must be a number in {_GENERATION_NAME} and config.json"
            )
    if not isinstance(beams, int) or not 1 <= beams <= ROWS_MAX:
        raise ManifestError(
            f"{model.folder}: num_beams: must be a number from 1 to {ROWS_MAX} in {_GENERATION_NAME} and "
            "config.json"
        )
    ending = Ending(
        tokens,
        1.0 if length_penalty is None else float(length_penalty),
        early_stopping if early_stopping in (True, "never") else False,
        beams,
        read_rules(generation, model.file(_GENERATION_NAME) or model.folder / "config.json"),
    )
    return Speech(start, ending, positions)


def _part(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    part = config.get(key)
    return dict(part) if isinstance(part, dict) else {}


def _first(sources: tuple[Mapping[str, Any], ...], *keys: str) -> Any:
    """Return the first value that is said: of the first key anywhere, else of the second."""

    def found() -> Iterator[Any]:
        for key in keys:
            for source in sources:
                if source.get(key) is not None:
                    yield source[key]

    return next(found(), None)
