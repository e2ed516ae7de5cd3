"""Train drawings-vlm: a tiny ViT and GPT-2 that say, in seven languages, what is drawn, and answer questions.

Run it with `training/make`. The same seed and machine give the same weights.
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
from cards import write_vlm_card as write_card
from drawings_age import FLAT_SHARE_MIN
from faces import HELD_OUT_SEED, TRAINING_SEED
from numpy.typing import NDArray
from pictures import (
    INPUT_PX,
    PATCH_PX,
    RESAMPLE,
    Pictures,
    background_label,
    drawn_pictures,
    mirrored,
    patch_labels,
)
from storing import MODELS_DIR, halve, round_weights, write_manifest
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)
from vocabulary import END, PAD, START, make_tokenizer

from enrich.drawings.lexicon import LANGUAGES, LENGTHS
from enrich.drawings.scenes import COLOURS, PLACES, SHAPES, Scene
from enrich.drawings.wording import ask, caption, caption_prompt
from enrich.exporters.optimum import export_with_optimum

SEED = 11
MODEL_DIR = MODELS_DIR / "drawings-vlm"
GRAPHS = ("encoder_model.onnx", "decoder_model_merged.onnx")
OUT = Path(__file__).parent / "out"
TRAINING_PICTURES = 32_000
HELD_OUT_PICTURES = 2_000
BATCH = 32
WIDTH = 128
LONGEST = 96
#: Of each picture a caption without places, one with them, and answers.
CAPTIONS = (("short", "normal"), ("long", "alt_text"))
QUESTIONS = 6
#: An answer has a token or two, and a caption forty: each shall count.
ANSWER_WEIGHT = 4.0
#: Questions that need looking for one shape are the hard ones.
HARD = ("colour", "kind", "place", "size", "at", "has_kind", "has")
EASY = ("background", "count", "people", "person")


def make_model(vocabulary: int, tokenizer: Tokenizer) -> VisionEncoderDecoderModel:
    """Return the untrained network: 96 px in patches of 12, four layers; a decoder of three layers."""
    encoder = ViTModel(
        ViTConfig(
            image_size=INPUT_PX,
            patch_size=PATCH_PX,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        add_pooling_layer=False,
    )
    start, end, pad = (tokenizer.token_to_id(token) for token in (START, END, PAD))
    decoder = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=LONGEST,
            n_embd=WIDTH,
            n_layer=3,
            n_head=4,
            n_inner=2 * WIDTH,
            add_cross_attention=True,
            is_decoder=True,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=pad,
        )
    )
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = start, end, pad
    return model


class Heads(nn.Module):
    """What the encoder is asked of each patch while it learns; thrown away afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.ModuleList(
            nn.Linear(WIDTH, 1 + count) for count in (len(SHAPES), len(COLOURS), 2, len(PLACES))
        )
        self.background = nn.Linear(WIDTH, len(COLOURS) + 2)
        # Most patches are empty, and to be empty is easy.
        self.weights = [torch.tensor([0.1] + [1.0] * (head.out_features - 1)) for head in self.patches]

    def loss(self, states: torch.Tensor, labels: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
        """Return the loss of all heads over the encoder's states, (N, 65, 128)."""
        total = nn.functional.cross_entropy(self.background(states[:, 0]), background)
        for number, head in enumerate(self.patches):
            total = total + nn.functional.cross_entropy(
                head(states[:, 1:]).transpose(1, 2), labels[:, number], weight=self.weights[number]
            )
        return total


class Batches:
    """Pictures in random order, some mirrored and shifted, with texts about each."""

    def __init__(self, pictures: Pictures, tokenizer: Tokenizer, seed: int) -> None:
        self._pictures = pictures
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        self._order: list[int] = []
        self._ids: dict[str, list[int]] = {}

    def pixels(self, count: int) -> tuple[torch.Tensor, list[Scene | str]]:
        """Return the next pictures as the encoder takes them, and what they show."""
        if len(self._order) < count:
            self._order = list(range(len(self._pictures.scenes)))
            self._rng.shuffle(self._order)
        chosen, self._order = self._order[:count], self._order[count:]
        pixels, scenes = self._pictures.pixels[chosen], [self._pictures.scenes[index] for index in chosen]
        for row in range(count):
            if self._rng.random() < 0.5:
                pixels[row] = pixels[row, :, ::-1]
                scenes[row] = mirrored(scenes[row])
        down, right = self._rng.randint(-2, 2), self._rng.randint(-2, 2)
        padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        shifted = padded[:, 2 + down : 2 + down + INPUT_PX, 2 + right : 2 + right + INPUT_PX]
        return tensor_of(shifted), scenes

    def texts(self, scene: Scene | str) -> list[tuple[list[int], int]]:
        """Return token ids from the start to the end, and how many of them are the prompt."""
        rng, texts = self._rng, []
        for lengths in CAPTIONS:
            language, length = rng.choice(list(LANGUAGES)), rng.choice(lengths)
            texts.append((caption_prompt(language, length), caption(scene, language, length)))
        for _ in range(QUESTIONS):
            asked = ask(rng, scene, rng.choice(list(LANGUAGES)))
            wanted = HARD if rng.random() < 0.8 else EASY
            one = rng.choice([item for item in asked if item.about in wanted] or asked)
            texts.append((varied(rng, one.question) + "\n", one.answer))
        return [self._encode(*text) for text in texts]

    def _encode(self, prompt: str, answer: str) -> tuple[list[int], int]:
        known = self._tokenizer
        head = [known.token_to_id(START), *self._of(prompt)]
        return [*head, *self._of(answer), known.token_to_id(END)], len(head)

    def _of(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self._tokenizer.encode(text, add_special_tokens=False).ids
            if len(self._ids) > 200_000:
                self._ids.clear()
                return self._of(text)
        return self._ids[text]


def varied(rng: random.Random, question: str) -> str:
    """Write a question as people do: now and then without capitals or question mark."""
    if rng.random() < 0.1:
        question = question.lower()
    if rng.random() < 0.1:
        question = question.rstrip("?？ ")
    return question


def packed(texts: list[list[tuple[list[int], int]]]) -> dict[str, torch.Tensor]:
    """Pack the texts of each picture into one row; none sees another.

    Each picture's keys and values are then made once for all texts about it.
    """
    longest = max(sum(len(ids) for ids, _ in row) for row in texts)
    ids = np.zeros((len(texts), longest), np.int64)
    targets = np.full((len(texts), longest), -100)
    weights = np.ones((len(texts), longest), np.float32)
    places, owner = np.zeros_like(ids), np.full_like(ids, -1)
    for row, items in enumerate(texts):
        start = 0
        for number, (tokens, prompt) in enumerate(items):
            end = start + len(tokens)
            ids[row, start:end] = tokens
            targets[row, start + prompt - 1 : end - 1] = tokens[prompt:]
            weights[row, start:end] = ANSWER_WEIGHT if number >= len(items) - QUESTIONS else 1.0
            places[row, start:end] = np.arange(len(tokens))
            owner[row, start:end] = number
            start = end
    mask = (owner[:, :, None] == owner[:, None, :]) & np.tri(longest, dtype=bool)
    return {
        "ids": torch.from_numpy(ids),
        "targets": torch.from_numpy(targets),
        "weights": torch.from_numpy(weights),
        "places": torch.from_numpy(places),
        "mask": torch.from_numpy(mask[:, None]),
    }


def language_loss(
    model: VisionEncoderDecoderModel, states: torch.Tensor, batch: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Return the cross entropy of the texts' own tokens, prompts left out."""
    hidden = model.decoder.transformer(
        input_ids=batch["ids"],
        position_ids=batch["places"],
        attention_mask=batch["mask"],
        encoder_hidden_states=states,
        use_cache=False,
    ).last_hidden_state
    is_target = batch["targets"] != -100
    losses = nn.functional.cross_entropy(
        model.decoder.lm_head(hidden[is_target]), batch["targets"][is_target], reduction="none"
    )
    weights = batch["weights"][is_target]
    return (losses * weights).sum() / weights.sum()


def learn_to_see(model: VisionEncoderDecoderModel, heads: Heads, batches: Batches, steps: int) -> None:
    """Teach the encoder what each patch shows, before anything is said."""
    optimizer = torch.optim.AdamW([*model.encoder.parameters(), *heads.parameters()], weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.5e-3, total_steps=steps, pct_start=0.1, final_div_factor=10
    )
    started, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        pixels, scenes = batches.pixels(2 * BATCH)
        states = model.encoder(pixels).last_hidden_state
        loss = heads.loss(states, *labels_of(scenes))
        total += take_step(loss, optimizer, schedule, model)
        if step % 100 == 0:
            print(f"see {step}/{steps}: {total / 100:.4f} ({time.monotonic() - started:.0f} s)", flush=True)
            total = 0.0


def learn_to_speak(
    model: VisionEncoderDecoderModel, heads: Heads, batches: Batches, steps: int, checkpoint: Path
) -> None:
    """Teach the whole network captions and answers."""
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *heads.parameters()], weight_decay=0.02, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=steps, pct_start=0.06)
    started, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        pixels, scenes = batches.pixels(BATCH)
        states = model.encoder(pixels).last_hidden_state
        said = language_loss(model, states, packed([batches.texts(scene) for scene in scenes]))
        loss = said + 0.2 * heads.loss(states, *labels_of(scenes))
        take_step(loss, optimizer, schedule, model)
        total += float(said.detach())
        if step % 100 == 0:
            print(f"speak {step}/{steps}: {total / 100:.4f} ({time.monotonic() - started:.0f} s)", flush=True)
            total = 0.0
        if step % 500 == 0:
            torch.save(model.state_dict(), checkpoint)


def take_step(
    loss: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    model: nn.Module,
) -> float:
    """Follow the gradient once."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    return float(loss.detach())


def labels_of(scenes: list[Scene | str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the heads are to say of each patch, and of the background."""
    patches = torch.from_numpy(np.stack([patch_labels(scene) for scene in scenes]))
    return patches, torch.tensor([background_label(scene) for scene in scenes])


def tensor_of(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Return float32, (N, 3, 96, 96), (x / 255 - 0.5) / 0.5, as the ViT image processor does."""
    scaled = (pixels.astype(np.float32) / 255 - 0.5) / 0.5
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


def judge(
    model: VisionEncoderDecoderModel, pictures: Pictures, tokenizer: Tokenizer, count: int
) -> dict[str, float]:
    """Return the share of texts that are right word for word, by language and sort.

    All tokens right when fed the right ones is the same as a right greedy text.
    """
    model.eval()
    batches, rng = Batches(pictures, tokenizer, 0), random.Random(5)
    right: dict[str, list[bool]] = {}
    with torch.no_grad():
        for start in range(0, count, BATCH):
            scenes = pictures.scenes[start : start + BATCH]
            states = model.encoder(tensor_of(pictures.pixels[start : start + BATCH])).last_hidden_state
            rows, sorts = [], []
            for scene in scenes:
                language = rng.choice(list(LANGUAGES))
                texts = [
                    (length, caption_prompt(language, length), caption(scene, language, length))
                    for length in LENGTHS
                ]
                texts += [
                    (f"answer {item.about}", item.question + "\n", item.answer)
                    for item in ask(rng, scene, language)
                ]
                rows.append([batches._encode(prompt, answer) for _, prompt, answer in texts])
                sorts.append([f"{language} {sort}" for sort, _, _ in texts])
            batch = packed(rows)
            hidden = model.decoder.transformer(
                input_ids=batch["ids"],
                position_ids=batch["places"],
                attention_mask=batch["mask"],
                encoder_hidden_states=states,
                use_cache=False,
            ).last_hidden_state
            good = (model.decoder.lm_head(hidden).argmax(-1) == batch["targets"]) | (batch["targets"] == -100)
            for row, items in enumerate(rows):
                begin = 0
                for (tokens, _), sort in zip(items, sorts[row], strict=True):
                    right.setdefault(sort, []).append(bool(good[row, begin : begin + len(tokens)].all()))
                    begin += len(tokens)
    model.train()
    return {sort: float(np.mean(values)) for sort, values in sorted(right.items())}


def report(shares: dict[str, float]) -> None:
    """Print the shares by language, and the answers by sort."""
    for language in LANGUAGES:
        own = {
            sort[len(language) + 1 :]: share for sort, share in shares.items() if sort.startswith(language)
        }
        answers = [share for sort, share in own.items() if sort.startswith("answer")]
        print(
            language,
            {length: round(own[length], 3) for length in LENGTHS},
            f"answers {np.mean(answers):.3f}",
            flush=True,
        )
    sorts = {sort[3:] for sort in shares if " answer" in sort}
    print(
        {
            sort: round(float(np.mean([share for key, share in shares.items() if key[3:] == sort])), 3)
            for sort in sorted(sorts)
        },
        flush=True,
    )


def export(model: VisionEncoderDecoderModel, tokenizer: Tokenizer, pictures: Pictures) -> float:
    """Export with optimum, store the weights in half precision, compare with torch, and fill the folder.

    Returns the largest difference of a logit, at a batch and lengths that were not traced.
    """
    source, exported = OUT / "vlm" / "torch", OUT / "vlm" / "onnx"
    round_weights(model)
    model.eval().save_pretrained(source)
    ViTImageProcessor(size={"height": INPUT_PX, "width": INPUT_PX}, resample=RESAMPLE).save_pretrained(source)
    export_with_optimum(source, exported, "image-to-text-with-past")
    MODEL_DIR.mkdir(parents=True, exist_ok=True)
    for name in GRAPHS:
        halve(exported / name, MODEL_DIR / name)
    for name in ("config.json", "generation_config.json", "preprocessor_config.json"):
        shutil.copyfile(exported / name, MODEL_DIR / name)
    tokenizer.save(str(MODEL_DIR / "tokenizer.json"))
    difference = compare(model, tensor_of(pictures.pixels[:5]))
    if difference > 1e-3:
        raise SystemExit(f"the exported graphs differ from torch by {difference:.1e}")
    return difference


def compare(model: VisionEncoderDecoderModel, pixels: torch.Tensor) -> float:
    """Return by how much the stored graphs' logits differ from torch's."""
    encoder, decoder = (
        onnxruntime.InferenceSession(MODEL_DIR / name, providers=["CPUExecutionProvider"]) for name in GRAPHS
    )
    (states,) = encoder.run(["last_hidden_state"], {"pixel_values": pixels.numpy()})
    ids = np.arange(3, 3 + 5 * 7).reshape(5, 7)
    past = {
        port.name: np.zeros((5, port.shape[1], 0, port.shape[3]), np.float32)
        for port in decoder.get_inputs()
        if port.name.startswith("past")
    }
    feeds = {"input_ids": ids, "encoder_hidden_states": states, "use_cache_branch": np.array([False]), **past}
    (logits,) = decoder.run(["logits"], feeds)
    with torch.no_grad():
        expected = model(pixel_values=pixels, decoder_input_ids=torch.from_numpy(ids)).logits.numpy()
    return float(np.abs(logits - expected).max())


def write_folder(
    shares: dict[str, float], difference: float, steps: tuple[int, int], parameters: int
) -> None:
    """Write the model card and the manifest."""
    write_card(MODEL_DIR / "README.md", shares, difference, steps, parameters)
    write_manifest(
        MODEL_DIR,
        (
            *GRAPHS,
            "config.json",
            "generation_config.json",
            "preprocessor_config.json",
            "tokenizer.json",
            "README.md",
        ),
        family="encoder-decoder",
        description="Captions of drawn scenes in seven languages and four lengths, and answers about them.",
        hooks=["enrich_caption", "enrich_answer"],
        languages=list(LANGUAGES),
        prompts={"caption": "{language} {length}\n", "answer": "{question}\n"},
        max_tokens={"short": 32, "normal": 48, "long": 72, "alt_text": 56, "answer": 24},
        domain={"flat_share_min": FLAT_SHARE_MIN},
    )


def main() -> None:
    """Draw, train, judge on held-out drawings, export, check the export, write the folder."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--see", type=int, default=4200, help="steps of the encoder alone; 0: keep the last"
    )
    arguments.add_argument("--speak", type=int, default=3600, help="steps of the whole")
    arguments.add_argument("--threads", type=int, default=2)
    chosen = arguments.parse_args()
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(chosen.threads)
    tokenizer = make_tokenizer(OUT / "vlm" / "tokenizer.json")
    print("vocabulary", tokenizer.get_vocab_size(), flush=True)
    pictures = drawn_pictures(TRAINING_SEED, TRAINING_PICTURES, OUT)
    held_out = drawn_pictures(HELD_OUT_SEED, HELD_OUT_PICTURES, OUT)
    model, heads = make_model(tokenizer.get_vocab_size(), tokenizer), Heads()
    print("parameters", model.num_parameters(), flush=True)
    seeing, looking = OUT / "vlm" / "encoder.pt", OUT / "vlm" / "heads.pt"
    if chosen.see:
        learn_to_see(model, heads, Batches(pictures, tokenizer, SEED), chosen.see)
        torch.save(model.encoder.state_dict(), seeing)
        torch.save(heads.state_dict(), looking)
    if not chosen.speak:
        return
    model.encoder.load_state_dict(torch.load(seeing))
    heads.load_state_dict(torch.load(looking))
    learn_to_speak(
        model, heads, Batches(pictures, tokenizer, SEED + 1), chosen.speak, OUT / "vlm" / "checkpoint.pt"
    )
    torch.save(model.state_dict(), OUT / "vlm" / "final.pt")
    difference = export(model, tokenizer, held_out)
    shares = judge(model, held_out, tokenizer, HELD_OUT_PICTURES)
    report(shares)
    write_folder(shares, difference, (chosen.see, chosen.speak), model.num_parameters())


if __name__ == "__main__":
    main()
