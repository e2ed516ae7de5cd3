"""Which graphs are a model's: by their usual names, and by the variant that its manifest chooses."""

import pytest

from enrich.errors import ManifestError
from enrich.inference.layout import find_graphs
from enrich.inference.manifest import Manifest

CLIP = ("vision_model", "text_model")


def folder_of(folder, *names):
    (folder / "onnx").mkdir(parents=True)
    for name in names:
        (folder / f"{name}.onnx").write_bytes(b"")
    return folder


def found(folder, family, **manifest):
    graphs = find_graphs(folder, Manifest.model_validate(manifest), family)
    return {part: path.relative_to(folder).as_posix() for part, path in graphs.items()}


def variants(chosen, **graphs):
    return {"variant": chosen, "variants": {name: {"graphs": parts} for name, parts in graphs.items()}}


def test_without_a_variant_the_usual_names_are_taken(tmp_path):
    folder = folder_of(tmp_path / "m", "onnx/model", "onnx/model_fp16")

    assert found(folder, "classifier") == {"model": "onnx/model.onnx"}
    assert found(folder, "classifier", **variants(None, fp16={"model": "onnx/model_fp16.onnx"})) == {
        "model": "onnx/model.onnx"
    }


def test_the_chosen_variant_goes_before_the_usual_names(tmp_path):
    folder = folder_of(tmp_path / "m", "onnx/model", "onnx/model_fp16")

    assert found(folder, "classifier", **variants("fp16", fp16={"model": "onnx/model_fp16.onnx"})) == {
        "model": "onnx/model_fp16.onnx"
    }


def test_a_part_that_the_variant_leaves_out_has_its_usual_name(tmp_path):
    parts = ("vision_encoder", "embed_tokens", "decoder_model_merged", "decoder_model_merged_q4")
    folder = folder_of(tmp_path / "m", *(f"onnx/{part}" for part in parts))
    q4 = variants("q4", q4={"decoder": "onnx/decoder_model_merged_q4.onnx"})

    graphs = found(folder, "vision-language", **q4)
    assert graphs == {
        "vision": "onnx/vision_encoder.onnx",
        "embed": "onnx/embed_tokens.onnx",
        "decoder": "onnx/decoder_model_merged_q4.onnx",
    }
    assert next(iter(graphs)) == "vision"


def test_halves_of_a_variant_are_not_mixed_with_the_whole_graph_of_another(tmp_path):
    names = (*CLIP, *(f"{name}_fp16" for name in CLIP), "model")
    folder = folder_of(tmp_path / "m", *(f"onnx/{name}" for name in names))
    halves = {"vision": "onnx/vision_model_fp16.onnx", "text": "onnx/text_model_fp16.onnx"}

    assert found(folder, "dual-encoder", **variants("fp16", fp16=halves)) == halves
    assert found(folder, "dual-encoder")["model"] == "onnx/model.onnx"
    whole = {**halves, "model": "onnx/model.onnx"}
    assert found(folder, "dual-encoder", **variants("fp16", fp16=whole)) == whole


def test_a_writers_variant_brings_its_own_later_decoder(tmp_path):
    names = ("encoder_model", "decoder_model", "decoder_with_past_model", "decoder_model_int8")
    folder = folder_of(tmp_path / "m", *(f"onnx/{name}" for name in names))

    merged = found(
        folder, "encoder-decoder", **variants("int8", int8={"decoder": "onnx/decoder_model_int8.onnx"})
    )
    assert merged == {"encoder": "onnx/encoder_model.onnx", "decoder": "onnx/decoder_model_int8.onnx"}
    assert "decoder_with_past" in found(folder, "encoder-decoder")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (variants("q4", fp16={"model": "model.onnx"}), "variant: there is no q4 .*; it has fp16"),
        (variants("q4"), "variant: there is no q4 among its variants; it has none"),
        (variants("q4", q4={"model": "gone.onnx"}), r"variants\.q4: there is no file gone\.onnx"),
        (variants("q4", q4={"model": "../out.onnx"}), "leads out of the model's folder"),
        (variants("q4", q4={"model": "/etc/passwd"}), "leads out of the model's folder"),
        (variants("q4", q4={"model": "link.onnx"}), "leads out of the model's folder"),
    ],
)
def test_a_wrong_variant_is_refused(tmp_path, manifest, message):
    folder = folder_of(tmp_path / "m", "model")
    (tmp_path / "out.onnx").write_bytes(b"")
    (folder / "link.onnx").symlink_to(tmp_path / "out.onnx")

    with pytest.raises(ManifestError, match=message):
        found(folder, "classifier", **manifest)
