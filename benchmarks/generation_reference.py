"""The reference side of `generation`; runs in the export environment (`training/make environment`).

`export FOLDER` writes a ViT-base + GPT-2 small with random weights: FOLDER/torch, its graphs by optimum
in FOLDER/optimum, and by our own exporter in FOLDER/writer. `serve FOLDER PIXELS PROMPT TOKENS THREADS`
loads torch weights and answers each line of its input with one: to "whole", or "decode" (the pictures encoded
before), the seconds and the token ids.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers


def export(folder: Path) -> None:
    """Write torch weights and graphs; the configuration is that of the published ViT + GPT-2 captioners."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from enrich.exporters.optimum import export_with_optimum
    from enrich.exporters.vision_writer import export_vision_writer

    torch.manual_seed(0)
    # Wider than a new model's, so that no token is a matter of rounding.
    width = {"initializer_range": 0.04}
    encoder = transformers.ViTModel(transformers.ViTConfig(**width), add_pooling_layer=False)
    decoder = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(add_cross_attention=True, is_decoder=True, **width)
    )
    model = transformers.VisionEncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    start = model.config.decoder.bos_token_id
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = config.pad_token_id = start
        config.eos_token_id = None
    model.save_pretrained(folder / "torch")
    transformers.ViTImageProcessor().save_pretrained(folder / "torch")
    export_with_optimum(folder / "torch", folder / "optimum", "image-to-text-with-past")
    # What the merged graph was made of.
    for part in ("decoder_model.onnx", "decoder_with_past_model.onnx"):
        (folder / "optimum" / part).unlink()
    export_vision_writer(model, folder / "writer")


def serve(folder: Path, pixels: Path, prompt: str, tokens: int, threads: int) -> None:
    """Generate greedily whenever asked; no token ends a text."""
    torch.set_num_threads(threads)
    model = transformers.VisionEncoderDecoderModel.from_pretrained(folder).eval()
    model.generation_config.eos_token_id = None
    batch = torch.from_numpy(np.load(pixels))
    ids = torch.tensor([json.loads(prompt)] * len(batch))
    options = {
        "decoder_input_ids": ids,
        "max_new_tokens": tokens,
        "do_sample": False,
        "num_beams": 1,
        "pad_token_id": 0,
    }
    with torch.inference_mode():
        seen = model.encoder(batch)
        for line in sys.stdin:
            # `generate` may write into what it is given.
            given = transformers.modeling_outputs.BaseModelOutput(last_hidden_state=seen.last_hidden_state)
            about = {"pixel_values": batch} if line.strip() == "whole" else {"encoder_outputs": given}
            started = time.perf_counter()
            made = model.generate(**about, **options)
            seconds = time.perf_counter() - started
            print(json.dumps([seconds, made[:, ids.shape[1] :].tolist()]), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(Path(sys.argv[2]))
    else:
        _, _, torch_folder, pixels, prompt, *counts = sys.argv
        serve(Path(torch_folder), Path(pixels), prompt, *map(int, counts))
