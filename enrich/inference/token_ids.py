"""From a label to the token ids a dual encoder reads, by the files of its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enrich.errors import ManifestError
from enrich.inference.manifest import read_json
from enrich.inference.reader import TextInput
from enrich.inference.stored import StoredModel
from enrich.inference.text import Tokenizer, load_tokenizer

__all__ = ["text_input"]

# Source: the defaults of CLIPTextConfig and SiglipTextConfig in transformers 4.57, which config.json may
# leave out.
_CLIP_TOKENS, _SIGLIP_TOKENS = 77, 64
_CLIP_END, _SIGLIP_PAD = 49407, 1

# Labels are short: filled up to 77 tokens each would cost five times as much.
_SHORT_LENGTHS = (16, 32)


def text_input(model: StoredModel, words: int | None, *, is_siglip: bool) -> TextInput:
    """Return how a model reads.

    Source: ``CLIPProcessor`` and ``SiglipProcessor`` of transformers 4.57. CLIP is causal and pools at the
    end token, so what stands behind it does not matter, with a mask or without; SigLIP was trained on
    texts filled up to their full length, and looks at all of it.

    Parameters
    ----------
    model : StoredModel
        Its folder holds tokenizer.json.
    words : int or None
        The one length that the graph takes.
    is_siglip : bool
        SigLIP, or CLIP.

    Raises
    ------
    ExtraMissing
        The ``tokenizers`` package is not installed.
    ManifestError
        There is no tokenizer, or it is broken.

    None of them is retryable.
    """
    tokenizer = load_tokenizer(model.file("tokenizer.json"), model.folder)
    said = model.config.get("text_config")
    text_config: Mapping[str, Any] = said if isinstance(said, dict) else {}
    default = _SIGLIP_TOKENS if is_siglip else _CLIP_TOKENS
    most = words or _number(text_config, "max_position_embeddings", default)
    if not tokenizer.encode(""):
        raise ManifestError(
            f"{model.folder}: tokenizer.json adds no end to a text, without which the model's vectors mean "
            "nothing; save it again from the weights' own tokenizer, its fast form"
        )

    def encode(text: str) -> list[int]:
        # What a label says must not become a start or an end.
        ids = tokenizer.encode(text, plain=True)
        # Both end a text with one token, and mean nothing without it.
        return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]

    is_fixed = is_siglip or words is not None
    short = () if is_fixed else tuple(length for length in _SHORT_LENGTHS if length < most)
    return TextInput(
        encode,
        _pad_id(model, tokenizer, text_config, is_siglip=is_siglip),
        (*short, most),
        pads_count=is_siglip,
    )


def _pad_id(
    model: StoredModel, tokenizer: Tokenizer, text_config: Mapping[str, Any], *, is_siglip: bool
) -> int:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = model.file(name)
        token = read_json(path).get("pad_token") if path else None
        token = token.get("content") if isinstance(token, dict) else token
        found = tokenizer.token_id(token) if isinstance(token, str) else None
        if found is not None:
            return found
    if is_siglip:
        return _number(text_config, "pad_token_id", _SIGLIP_PAD)
    return _number(text_config, "eos_token_id", _CLIP_END)


def _number(values: Mapping[str, Any], key: str, default: int) -> int:
    value = values.get(key)
    return value if isinstance(value, int) else default
