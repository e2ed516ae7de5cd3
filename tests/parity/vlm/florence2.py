"""Florence-2, tiny and random: its files as published, and what transformers says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from parity.pictures import CHOSEN, odd_pictures
from parity.tiny_tokenizers import gpt2_tokenizer
from PIL import Image
from tokenizers import AddedToken, processors
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from enrich.exporters.florence import export

__all__ = ["make", "record"]

_SEED, _EDGE_PX, _STEPS = 58, 64, 32
#: After so many tokens it is recorded what may come next.
_LOGITS_AFTER = (0, 8, 31)
_TASKS = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>", "<OCR_WITH_REGION>", "<OD>")
_START, _PAD, _END, _UNKNOWN, _MASK, _IMAGE = "<s>", "<pad>", "</s>", "<unk>", "<mask>", "<image>"
# As the published generation_config.json.
_OWN = {
    "bos_token_id": 0,
    "decoder_start_token_id": 2,
    "early_stopping": True,
    "eos_token_id": 2,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "no_repeat_ngram_size": 3,
    "num_beams": 3,
    "pad_token_id": 1,
}
_CASES: dict[str, dict[str, Any]] = {
    "greedy": {"num_beams": 1},
    "beams4": {"num_beams": 4},
    "own": {},
    "plain": {
        "num_beams": 1,
        "no_repeat_ngram_size": 0,
        "forced_bos_token_id": None,
        "forced_eos_token_id": None,
    },
}
_TEXTS = (
    "car<loc_53><loc_332><loc_932><loc_774>",
    "</s><s>wheel<loc_709><loc_577><loc_864><loc_774><loc_150><loc_555><loc_303><loc_769>door handle"
    "<loc_1><loc_2><loc_3><loc_4></s>",
    "person <loc_0><loc_0><loc_999><loc_999>dog<loc_10><loc_20><loc_30>",
    "EXIT<loc_100><loc_200><loc_300><loc_210><loc_290><loc_260><loc_95><loc_250>",
    "</s><s>Main Street 5<loc_0><loc_0><loc_500><loc_0><loc_500><loc_90><loc_0><loc_90>3 < 4"
    "<loc_10><loc_110><loc_400><loc_110><loc_400><loc_190><loc_10><loc_190></s>",
    "nothing to find</s>",
)


def make(folder: Path) -> None:
    """Write ``torch`` and ``onnx`` under ``folder``."""
    source, exported = folder / "torch", folder / "onnx"
    exported.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(_SEED)
    tokenizer = _tokenizer()
    model = _model(tokenizer)
    model.save_pretrained(source)
    export(model, exported, edge_px=_EDGE_PX)
    for place in (source, exported):
        tokenizer.save_pretrained(place)
        model.generation_config.save_pretrained(place)
        model.config.save_pretrained(place)
        _write_processor(place)


def record(folder: Path) -> dict[str, NDArray[Any]]:
    """Return what the model that ``make`` wrote says of five pictures, a task for each.

    ====================  ======================================================================
    ``pixels``            float32, (5, 3, H, W)
    ``features``          float32, (5, T, D)
    ``prompts``           int64, (5, S): the words' ids, -1 behind them
    ``greedy``            int64, (5, 32): tokens without the start, -1 behind the end
    ``beams4``, ``own``   as ``greedy`` in four beams, and in as many as the model's files say
    ``plain``             as ``greedy`` with none of the rules of generation_config.json
    ``logits``            float32, (5, 3, V): what may come next after the start and tokens of ``plain``
    ``logits_after``      int64, (3,): after how many of them
    ``texts``             str, (N,): texts as the published model writes them
    ``things``, ``lines`` JSON of what the processor finds in each of them, of 1000 x 1000 px
    ====================  ======================================================================
    """
    torch.set_num_threads(1)
    source = folder / "torch"
    model = Florence2ForConditionalGeneration.from_pretrained(source).eval()
    processor = _processor(source)
    pictures = [Image.fromarray(odd_pictures()[index]) for index in CHOSEN]
    inputs = processor(images=pictures, text=list(_TASKS), padding=True, return_tensors="pt")
    numbers: dict[str, NDArray[Any]] = {
        "pixels": inputs["pixel_values"].numpy(),
        "prompts": _words(inputs, model.config.image_token_id),
        "texts": np.asarray(_TEXTS),
        "things": np.asarray(_found(processor, "<OD>", "bboxes")),
        "lines": np.asarray(_found(processor, "<OCR_WITH_REGION>", "quad_boxes")),
    }
    with torch.no_grad():
        numbers["features"] = model.get_image_features(inputs["pixel_values"]).pooler_output.numpy()
        for name, decoding in _CASES.items():
            together = _written(model, inputs, decoding)
            alone = [
                _written(model, processor(images=[picture], text=[task], return_tensors="pt"), decoding)[0]
                for picture, task in zip(pictures, _TASKS, strict=True)
            ]
            assert together == alone, f"{name}: transformers itself says something else in a batch"
            numbers[name] = _rows(together)
        numbers["logits"] = np.stack(
            [
                _logits(model, processor(images=[picture], text=[task], return_tensors="pt"), row)
                for picture, task, row in zip(pictures, _TASKS, numbers["plain"].tolist(), strict=True)
            ]
        )
        numbers["logits_after"] = np.asarray(_LOGITS_AFTER)
    return numbers


def _found(processor: Florence2Processor, task: str, places: str) -> list[str]:
    """Return, for each text, the names and boxes that the processor finds."""
    found = (
        processor.post_process_generation(text=text, task=task, image_size=(1000, 1000))[task]
        for text in _TEXTS
    )
    return [json.dumps(list(zip(one["labels"], one[places], strict=True))) for one in found]


def _written(
    model: Florence2ForConditionalGeneration, inputs: Any, decoding: dict[str, Any]
) -> list[list[int]]:
    rows = model.generate(**inputs, max_new_tokens=_STEPS, do_sample=False, **decoding)
    # The first is the start, which is the end token, too.
    written = [row[1:] for row in rows.tolist()]
    return [row[: row.index(2) + 1] if 2 in row else row for row in written]


def _logits(model: Florence2ForConditionalGeneration, inputs: Any, row: list[int]) -> NDArray[np.float32]:
    read = torch.tensor([[_OWN["decoder_start_token_id"], *row]])
    logits: NDArray[np.float32] = model(**inputs, decoder_input_ids=read).logits[0].numpy()
    return logits[list(_LOGITS_AFTER)]


def _words(inputs: Any, image: int) -> NDArray[np.int64]:
    pairs = zip(inputs["input_ids"].tolist(), inputs["attention_mask"].tolist(), strict=True)
    return _rows(
        [
            [token for token, is_read in zip(ids, mask, strict=True) if is_read and token != image]
            for ids, mask in pairs
        ]
    )


def _rows(rows: list[Any]) -> NDArray[np.int64]:
    made = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made


def _model(tokenizer: PreTrainedTokenizerFast) -> Florence2ForConditionalGeneration:
    config = Florence2Config(
        vision_config={
            "embed_dim": [8, 8, 16, 16],
            "depths": [1, 1, 1, 1],
            "num_heads": [2, 2, 4, 4],
            "num_groups": [2, 2, 4, 4],
            "projection_dim": 16,
            "window_size": 4,
            "drop_path_rate": 0.0,
        },
        text_config={
            "model_type": "bart",
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 128,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 2,
        },
        image_token_id=tokenizer.convert_tokens_to_ids(_IMAGE),
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    config.architectures = ["Florence2ForConditionalGeneration"]
    model = Florence2ForConditionalGeneration(config).eval()
    rng = np.random.default_rng(_SEED)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            _fill(parameter, rng, 0.25)
    model.generation_config = GenerationConfig(**_OWN)
    return model


def _fill(parameter: nn.Parameter, rng: np.random.Generator, spread: float) -> None:
    # Half of the bits are enough: the other half packs away.
    values = torch.from_numpy(rng.normal(scale=spread, size=parameter.shape))
    parameter.data = values.bfloat16().float()


def _tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE as BART's, with Florence's thousand places behind it."""
    made = gpt2_tokenizer().backend_tokenizer
    model = json.loads(made.to_str())["model"]
    first = (_START, _PAD, _END, _UNKNOWN)
    words = [*first, *(word for word in model["vocab"] if word != "<|endoftext|>"), _MASK]
    merges = [tuple(pair) for pair in model["merges"]]
    made.model = tokenizers.models.BPE({word: index for index, word in enumerate(words)}, merges)
    made.post_processor = processors.RobertaProcessing((_END, 2), (_START, 0), True, False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=_START,
        eos_token=_END,
        unk_token=_UNKNOWN,
        pad_token=_PAD,
        mask_token=AddedToken(_MASK, lstrip=True, special=True),
        cls_token=_START,
        sep_token=_END,
        extra_special_tokens={"image_token": _IMAGE},
    )
    marks = ["<od>", "</od>", "<ocr>", "</ocr>", *(f"<loc_{index}>" for index in range(1000)), "<sep>"]
    fast.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    return fast


def _write_processor(folder: Path) -> None:
    """Write the image processor's file as published: resized to a square, nothing cropped."""
    edges = {"height": _EDGE_PX, "width": _EDGE_PX}
    values = {
        "crop_size": edges,
        "do_center_crop": False,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "CLIPImageProcessor",
        "image_seq_length": (_EDGE_PX // 32) ** 2 + 1,
        "image_std": [0.229, 0.224, 0.225],
        "processor_class": "Florence2Processor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": edges,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(values, indent=2) + "\n")


def _processor(folder: Path) -> Florence2Processor:
    values = json.loads((folder / "preprocessor_config.json").read_text())
    images = CLIPImageProcessorPil.from_pretrained(folder)
    images.image_seq_length = values["image_seq_length"]
    post = {"ocr": {}, "pure_text": {}, "description_with_bboxes": {}}
    return Florence2Processor(
        images, PreTrainedTokenizerFast.from_pretrained(folder), post_processor_config=post
    )
