"""The reference side of `known_models`; runs in the environments that exports are made in.

`make NAME FOLDER SMALL` writes random weights of a known configuration with their processors; `run NAME
FOLDER IMAGES VOCABULARY PROMPT TOKENS` looks at the pictures of a folder and prints, as JSON, what it says
of each.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers
import torch
import transformers
from PIL import Image

BATCH = 8
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
MARKS = ("<|im_start|>", "<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>")
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}"
    "{{ ' <image> ' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{{ 'Assistant:' if add_generation_prompt else '' }}"
)
#: Layers and widths of a model that is only tried out.
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}


def make(name: str, folder: Path, *, small: bool) -> None:
    """Write weights, wider apart than a new model's, so that fewer answers are a matter of rounding."""
    torch.manual_seed(0)
    shape = SMALL if small else {}
    {"vit-age-classifier": make_vit, "clip-vit-base-patch32": make_clip, "smolvlm-256m": make_smolvlm}[name](
        folder, shape
    )


def make_vit(folder: Path, shape: dict[str, int]) -> None:
    """Write ViT-B/16 with nine ages."""
    config = transformers.ViTConfig(id2label=dict(enumerate(AGES)), initializer_range=0.04, **shape)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor().save_pretrained(folder)


def make_clip(folder: Path, shape: dict[str, int]) -> None:
    """Write CLIP ViT-B/32; its tokenizer knows words t1, t2 and so on."""
    tokenizer = words(49406, "<|startoftext|>", "<|endoftext|>")
    start, end = tokenizer.convert_tokens_to_ids(["<|startoftext|>", "<|endoftext|>"])
    tokenizer.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[("<|startoftext|>", start), ("<|endoftext|>", end)],
    )
    text = {**shape, "vocab_size": len(tokenizer), "bos_token_id": start, "eos_token_id": end}
    config = transformers.CLIPConfig(text_config=text, vision_config=shape)
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_smolvlm(folder: Path, shape: dict[str, int]) -> None:
    """Write SmolVLM-256M: a SigLIP of 512 px and a SmolLM2 of 30 layers; nothing ends its texts."""
    marks = (*MARKS, *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)))
    tokenizer = words(49280 - len(marks), *marks)
    start, end = tokenizer.convert_tokens_to_ids([MARKS[0], MARKS[-1]])
    vision = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "image_size": 512,
        "patch_size": 16,
    }
    text = {
        "model_type": "llama",
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "intermediate_size": 1536,
        "max_position_embeddings": 8192,
        "vocab_size": len(tokenizer),
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": start,
    }
    if shape:
        vision |= {**shape, "patch_size": 64}
        text |= {**shape, "num_key_value_heads": 2, "head_dim": 16}
    config = transformers.Idefics3Config(
        vision_config=vision,
        text_config=text,
        scale_factor=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=start,
    )
    model = transformers.Idefics3ForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=start, eos_token_id=end, pad_token_id=start
    )
    model.save_pretrained(folder)
    images = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}
    )
    side = vision["image_size"] // vision["patch_size"] // 4
    processor = transformers.Idefics3Processor(
        images, tokenizer, image_seq_len=side**2, chat_template=TEMPLATE
    )
    processor.save_pretrained(folder)


def words(count: int, *marks: str) -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer of words t0 (any other), t1 and so on, with special tokens behind them."""
    vocabulary = {f"t{number}": number for number in range(count)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="t0"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([tokenizers.AddedToken(mark, special=True, normalized=False) for mark in marks])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=marks[0], eos_token=marks[-1], pad_token=marks[0], unk_token="t0"
    )


def classify(folder: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Return the likeliest label of each picture."""
    classify_ = transformers.pipeline("image-classification", model=str(folder), device="cpu", top_k=1)
    found = classify_([str(path) for path in paths], batch_size=BATCH)
    return {path.name: labels[0]["label"] for path, labels in zip(paths, found, strict=True)}


def rank(folder: Path, paths: Sequence[Path], vocabulary: Sequence[str]) -> dict[str, str]:
    """Return the word that lies nearest to each picture; the words are read once."""
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    processor = transformers.CLIPImageProcessor.from_pretrained(folder)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    read = tokenizer(list(vocabulary), padding=True, return_tensors="pt")
    texts = unit(model.get_text_features(input_ids=read.input_ids, attention_mask=read.attention_mask))
    said = {}
    for part in batches(paths, BATCH):
        pixels = processor([Image.open(path) for path in part], return_tensors="pt").pixel_values
        best = (unit(model.get_image_features(pixel_values=pixels)) @ texts.T).argmax(1)
        said |= {path.name: vocabulary[index] for path, index in zip(part, best.tolist(), strict=True)}
    return said


def describe(folder: Path, paths: Sequence[Path], prompt: str, tokens: int) -> dict[str, str]:
    """Return a text of so many tokens about each picture, one after the other."""
    model = transformers.Idefics3ForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.Idefics3Processor.from_pretrained(folder)
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
    text = processor.apply_chat_template([turn], add_generation_prompt=True)
    said = {}
    for path in paths:
        inputs = processor(text=[text], images=[[Image.open(path)]], return_tensors="pt")
        rows = model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
        made = rows[0, inputs["input_ids"].shape[1] :]
        said[path.name] = processor.tokenizer.decode(made, skip_special_tokens=True).strip()
    return said


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Return vectors of length 1."""
    # transformers 5 returns more than the tensor.
    vectors = getattr(vectors, "pooler_output", vectors)
    return vectors / vectors.norm(dim=1, keepdim=True)


def batches(paths: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    """Return the paths in groups."""
    return (paths[start : start + size] for start in range(0, len(paths), size))


def main() -> None:
    """Do what the command line says."""
    transformers.logging.set_verbosity_error()
    what, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if what == "make":
        make(name, folder, small=bool(int(sys.argv[4])))
        return
    images, vocabulary, prompt, tokens = sys.argv[4:]
    paths = sorted(Path(images).iterdir())
    with torch.inference_mode():
        if name == "vit-age-classifier":
            said = classify(folder, paths)
        elif name == "clip-vit-base-patch32":
            said = rank(folder, paths, json.loads(vocabulary))
        else:
            said = describe(folder, paths, prompt, int(tokens))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
