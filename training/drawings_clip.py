"""Train drawings-clip: a tiny CLIP over drawn scenes and what seven languages say of them.

Run it with `training/make`, after drawings_vlm.py, whose encoder it starts from. The same seed and
machine give the same weights.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from cards import write_clip_card
from drawings_age import FLAT_SHARE_MIN
from drawings_vlm import Batches, Heads, labels_of, make_model, take_step, tensor_of
from faces import HELD_OUT_SEED, TRAINING_SEED
from pictures import INPUT_PX, PATCH_PX, RESAMPLE, Pictures, drawn_pictures
from storing import MODELS_DIR, halve, round_weights, write_manifest
from tokenizers import Tokenizer
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, ViTModel
from vocabulary import END, PAD, START, make_tokenizer

from enrich.drawings.lexicon import LANGUAGES
from enrich.drawings.scenes import Scene, compose_scene, draw_scene
from enrich.drawings.wording import all_tags, caption, true_tags
from enrich.exporters.optimum import export_with_optimum

SEED = 13
OUT = Path(__file__).parent / "out"
MODEL_DIR = MODELS_DIR / "drawings-clip"
TRAINING_PICTURES, HELD_OUT_PICTURES = 32_000, 2_000
BATCH = 128
WIDTH, DIMENSIONS, LONGEST = 128, 128, 64
#: Long captions tell most, and short ones must be understood too.
CHANCES = {"short": 0.1, "normal": 0.3, "long": 0.5, "alt_text": 0.1}


def make_clip(tokenizer: Tokenizer) -> CLIPModel:
    """Return the untrained network."""
    shape = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
    }
    ids = {
        f"{name}_token_id": tokenizer.token_to_id(token)
        for name, token in (("bos", START), ("eos", END), ("pad", PAD))
    }
    text = {
        "vocab_size": tokenizer.get_vocab_size(),
        "num_hidden_layers": 3,
        "max_position_embeddings": LONGEST,
        **shape,
        **ids,
    }
    vision = {"num_hidden_layers": 4, "image_size": INPUT_PX, "patch_size": PATCH_PX, **shape}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIMENSIONS))


def start_from(model: CLIPModel, encoder: ViTModel) -> None:
    """Copy what drawings-vlm's encoder has learnt to see; the two differ in a norm and in names."""
    vision, seen = model.vision_model, encoder.embeddings
    with torch.no_grad():
        patches = seen.patch_embeddings.projection
        vision.embeddings.patch_embedding.weight.copy_(patches.weight)
        vision.embeddings.class_embedding.copy_(seen.cls_token[0, 0])
        places = seen.position_embeddings[0].clone()
        places[1:] += patches.bias
        vision.embeddings.position_embedding.weight.copy_(places)
        for ours, theirs in zip(vision.encoder.layers, encoder.encoder.layer, strict=True):
            attention = theirs.attention
            pairs = [
                (ours.layer_norm1, theirs.layernorm_before),
                (ours.layer_norm2, theirs.layernorm_after),
                (ours.self_attn.q_proj, attention.attention.query),
                (ours.self_attn.k_proj, attention.attention.key),
                (ours.self_attn.v_proj, attention.attention.value),
                (ours.self_attn.out_proj, attention.output.dense),
                (ours.mlp.fc1, theirs.intermediate.dense),
                (ours.mlp.fc2, theirs.output.dense),
            ]
            for mine, other in pairs:
                mine.load_state_dict(other.state_dict())
        vision.post_layernorm.load_state_dict(encoder.layernorm.state_dict())


def read(tokenizer: Tokenizer, texts: list[str]) -> dict[str, torch.Tensor]:
    """Return token ids and mask, filled up to the longest."""
    rows = [encoding.ids[:LONGEST] for encoding in tokenizer.encode_batch(texts)]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), tokenizer.token_to_id(PAD))
    for row, own in enumerate(rows):
        ids[row, : len(own)] = torch.tensor(own)
    return {"input_ids": ids, "attention_mask": (ids != tokenizer.token_to_id(PAD)).long()}


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Scale vectors to unit length."""
    return vectors / vectors.norm(dim=-1, keepdim=True)


def pair_loss(logits: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """Return the loss of pairs both ways; equal texts are no mistakes for each other."""
    numbers = {text: number for number, text in enumerate(texts)}
    same = torch.tensor([numbers[text] for text in texts])
    is_other_pair = (same[:, None] == same[None, :]) & ~torch.eye(len(texts), dtype=torch.bool)
    logits = logits.masked_fill(is_other_pair, -1e4)
    wanted = torch.arange(len(texts))
    return (nn.functional.cross_entropy(logits, wanted) + nn.functional.cross_entropy(logits.T, wanted)) / 2


def tag_loss(logits: torch.Tensor, scenes: list[Scene | str], tags: list[str], language: str) -> torch.Tensor:
    """Return the loss of tags: those that are true share the probability, and above all have it together."""
    truth = torch.tensor(
        [[tag in true for tag in tags] for true in (true_tags(scene, language) for scene in scenes)]
    )
    has_any = truth.any(dim=1)
    likely = logits.log_softmax(dim=1)[has_any]
    truth = truth[has_any]
    shared = (likely * truth).sum(dim=1) / truth.sum(dim=1)
    together = likely.masked_fill(~truth, -torch.inf).logsumexp(dim=1)
    return -(shared + 2 * together).mean()


def train(model: CLIPModel, heads: Heads, batches: Batches, tokenizer: Tokenizer, steps: int) -> None:
    """Fit pictures to captions and tags."""
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *heads.parameters()], weight_decay=0.02, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.2e-3, total_steps=steps, pct_start=0.08)
    rng, started, total = random.Random(SEED), time.monotonic(), np.zeros(2)
    for step in range(1, steps + 1):
        pixels, scenes = batches.pixels(BATCH)
        lengths = rng.choices(list(CHANCES), list(CHANCES.values()), k=BATCH)
        texts = [
            caption(scene, rng.choice(list(LANGUAGES)), length)
            for scene, length in zip(scenes, lengths, strict=True)
        ]
        language = rng.choice(list(LANGUAGES))
        tags = all_tags(language)
        seen = model.vision_model(pixel_values=pixels)
        pictures = unit(model.visual_projection(seen.pooler_output))
        words = unit(model.get_text_features(**read(tokenizer, texts + tags)))
        logits = model.logit_scale.exp() * pictures @ words.T
        pairs = pair_loss(logits[:, :BATCH], texts)
        labels = tag_loss(logits[:, BATCH:], scenes, tags, language)
        patches = heads.loss(model.vision_model.post_layernorm(seen.last_hidden_state), *labels_of(scenes))
        take_step(pairs + 0.3 * labels + 0.1 * patches, optimizer, schedule, model)
        with torch.no_grad():
            model.logit_scale.clamp_(max=np.log(100))
        total += (float(pairs.detach()), float(labels.detach()))
        if step % 50 == 0:
            print(f"clip {step}/{steps}: {total / 50} ({time.monotonic() - started:.0f} s)", flush=True)
            total[:] = 0


def judge(model: CLIPModel, tokenizer: Tokenizer) -> dict[str, float]:
    """Return the figures of the card, over held-out scenes that all differ."""
    scenes, pixels, seen_before = [], [], set()
    seed = HELD_OUT_SEED * 7
    while len(scenes) < HELD_OUT_PICTURES:
        scene = compose_scene(random.Random(seed))
        text = caption(scene, "en", "long")
        if text not in seen_before:
            seen_before.add(text)
            image, scene = draw_scene(random.Random(seed), 224)
            scenes.append(scene)
            pixels.append(np.asarray(image.resize((INPUT_PX, INPUT_PX), RESAMPLE)))
        seed += 1
    model.eval()
    with torch.no_grad():
        pictures = torch.cat(
            [
                unit(model.get_image_features(pixel_values=tensor_of(np.stack(pixels[s : s + 100]))))
                for s in range(0, len(pixels), 100)
            ]
        )
        figures: dict[str, float] = {}
        for language in LANGUAGES:
            texts = [caption(scene, language, "long") for scene in scenes]
            words = torch.cat(
                [
                    unit(model.get_text_features(**read(tokenizer, texts[s : s + 100])))
                    for s in range(0, len(texts), 100)
                ]
            )
            scores = words @ pictures.T
            rank = (scores > scores.diagonal()[:, None]).sum(dim=1)
            figures[f"text to image, {language}, R@1"] = float((rank < 1).float().mean())
            figures[f"text to image, {language}, R@5"] = float((rank < 5).float().mean())
            tags = all_tags(language)
            best = (pictures @ unit(model.get_text_features(**read(tokenizer, tags))).T).argmax(dim=1)
            right = [
                tags[int(index)] in true_tags(scene, language)
                for index, scene in zip(best, scenes, strict=True)
            ]
            figures[f"top tag true, {language}"] = float(np.mean(right))
    model.train()
    return figures


def export(model: CLIPModel, tokenizer: Tokenizer, pictures: Pictures) -> float:
    """Export with optimum, store the weights in half precision, compare with torch, and fill the folder."""
    source, exported = OUT / "clip" / "torch", OUT / "clip" / "onnx"
    round_weights(model)
    model.eval().save_pretrained(source)
    edge = {"height": INPUT_PX, "width": INPUT_PX}
    CLIPImageProcessor(
        size=edge, do_center_crop=False, resample=RESAMPLE, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(source)
    export_with_optimum(source, exported, "zero-shot-image-classification")
    MODEL_DIR.mkdir(parents=True, exist_ok=True)
    halve(exported / "model.onnx", MODEL_DIR / "model.onnx")
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copyfile(exported / name, MODEL_DIR / name)
    tokenizer.save(str(MODEL_DIR / "tokenizer.json"))
    session = onnxruntime.InferenceSession(MODEL_DIR / "model.onnx", providers=["CPUExecutionProvider"])
    pixels, texts = tensor_of(pictures.pixels[:5]), read(tokenizer, ["red", "a small blue star", "x"])
    feeds = {name: value.numpy() for name, value in texts.items()} | {"pixel_values": pixels.numpy()}
    (ours,) = session.run(["image_embeds"], feeds)
    with torch.no_grad():
        theirs = unit(model.get_image_features(pixel_values=pixels)).numpy()
    difference = float(np.abs(ours - theirs).max())
    if difference > 1e-3:
        raise SystemExit(f"the exported graph differs from torch by {difference:.1e}")
    return difference


def main() -> None:
    """Draw, train, export, judge on held-out drawings, and write the folder."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=900)
    arguments.add_argument("--threads", type=int, default=2)
    chosen = arguments.parse_args()
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(chosen.threads)
    tokenizer = make_tokenizer(OUT / "clip" / "tokenizer.json", with_ends=True)
    pictures = drawn_pictures(TRAINING_SEED, TRAINING_PICTURES, OUT)
    model, heads = make_clip(tokenizer), Heads()
    speaker = make_model(tokenizer.get_vocab_size(), tokenizer)
    speaker.encoder.load_state_dict(torch.load(OUT / "vlm" / "encoder.pt"))
    start_from(model, speaker.encoder)
    train(model, heads, Batches(pictures, tokenizer, SEED), tokenizer, chosen.steps)
    torch.save(model.state_dict(), OUT / "clip" / "final.pt")
    difference = export(model, tokenizer, pictures)
    figures = judge(model, tokenizer)
    print(figures, flush=True)
    files = ("model.onnx", "config.json", "preprocessor_config.json", "tokenizer.json", "README.md")
    sizes = (DIMENSIONS, model.num_parameters())
    write_clip_card(MODEL_DIR / "README.md", figures, difference, chosen.steps, sizes)
    write_manifest(
        MODEL_DIR,
        files,
        family="dual-encoder",
        description="Tags from a vocabulary, and text-to-image search, for drawn scenes in seven languages.",
        hooks=["enrich_tag", "enrich_embed"],
        zero_shot={"scale": float(model.logit_scale.exp()), "activation": "softmax"},
        domain={"flat_share_min": FLAT_SHARE_MIN},
    )


if __name__ == "__main__":
    main()
