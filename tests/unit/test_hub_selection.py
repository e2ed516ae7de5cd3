import pytest

from enrich.errors import ModelMissing, UsageError
from enrich.hub.selection import companions, graphs_of, select, small_files

PARTS = ("vision_encoder", "embed_tokens", "decoder_model_merged")


def onnx(*names, folder="onnx/"):
    return {f"{folder}{name}.onnx": 10 for name in names}


def test_the_first_preferred_variant_that_is_there_whole_is_taken():
    sizes = onnx(*PARTS, *(f"{part}_fp16" for part in PARTS), "decoder_model_merged_q4")

    chosen = select(sizes, "vision-language", None, ("q4", "fp16", "fp32"))
    assert (chosen.variant, chosen.note) == ("fp16", None)
    assert chosen.graphs == {
        "vision": "onnx/vision_encoder_fp16.onnx",
        "embed": "onnx/embed_tokens_fp16.onnx",
        "decoder": "onnx/decoder_model_merged_fp16.onnx",
    }


def test_a_wanted_variant_is_taken_for_the_parts_that_have_it_and_the_others_are_told():
    sizes = onnx(*PARTS, "decoder_model_merged_q4", "vision_encoder_q4")

    chosen = select(sizes, "vision-language", "q4", ())
    assert chosen.graphs["embed"] == "onnx/embed_tokens.onnx"
    assert chosen.graphs["decoder"] == "onnx/decoder_model_merged_q4.onnx"
    assert chosen.instead == {"embed": "fp32"}
    assert chosen.note == "embed is fp32"


def test_a_variant_that_no_part_has_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="hf:a/b has no variant q4; it has: fp32, int8"):
        select(onnx("model", "model_quantized"), "classifier", "q4", (), where="hf:a/b")


@pytest.mark.parametrize("ending", ["int8", "quantized"])
def test_int8_has_two_endings(ending):
    assert select(onnx("model", f"model_{ending}"), "classifier", "int8", ()).graphs == {
        "model": f"onnx/model_{ending}.onnx"
    }


def test_what_is_preferred_nowhere_is_better_than_nothing():
    assert select(onnx("model_quantized"), "classifier", None, ("fp32",)).variant == "int8"


def test_two_halves_go_before_one_graph_and_the_whole_is_the_smallest_where_it_is_needed():
    sizes = onnx("vision_model", "text_model", "model", "model_quantized")
    sizes |= {"onnx/model.onnx_data": 1000}

    assert "model" not in select(sizes, "dual-encoder", None, ("fp32",)).graphs
    assert select(sizes, "dual-encoder", None, ("fp32",), with_whole=True).graphs == {
        "vision": "onnx/vision_model.onnx",
        "text": "onnx/text_model.onnx",
        "model": "onnx/model_quantized.onnx",
    }
    assert select(onnx("model"), "dual-encoder", None, ("fp32",)).graphs == {"model": "onnx/model.onnx"}


def test_a_merged_decoder_goes_before_two():
    two = ("encoder_model", "decoder_model", "decoder_with_past_model")

    assert set(select(onnx(*two, "decoder_model_merged"), "encoder-decoder", None, ()).graphs.values()) == {
        "onnx/encoder_model.onnx",
        "onnx/decoder_model_merged.onnx",
    }
    assert set(select(onnx(*two), "encoder-decoder", None, ()).graphs) == {
        "encoder",
        "decoder",
        "decoder_with_past",
    }


def test_a_classifiers_only_graph_may_have_any_name():
    assert select(onnx("net", folder=""), "classifier", None, ("fp32",)).graphs == {"model": "net.onnx"}
    with pytest.raises(ModelMissing, match=r"needs model\.onnx, and has a\.onnx, b\.onnx"):
        select(onnx("a", "b", folder=""), "classifier", None, ("fp32",))


def test_a_missing_part_is_named_with_the_command_that_makes_it():
    with pytest.raises(ModelMissing, match="enrich models export hf:a/b"):
        select(onnx("vision_encoder"), "florence", None, (), where="hf:a/b")


def test_only_files_that_are_needed_and_lead_nowhere_are_taken():
    names = [
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
        "merges.txt",
        "chat_template.jinja",
        "LICENSE.txt",
        "pytorch_model.bin",
        "modeling_x.py",
        "model.safetensors.index.json",
        "requirements.txt",
        "manifest.json",
        "../config.json",
        "sub/config.json",
        ".hidden.json",
        "/etc/x.json",
        "a\\b.json",
        "onnx.zip",
    ]

    assert small_files(dict.fromkeys(names, 1)) == [
        "LICENSE.txt",
        "chat_template.jinja",
        "config.json",
        "merges.txt",
        "tokenizer.json",
        "tokenizer.model",
    ]
    assert small_files({"huge.json": 10**9}) == []
    assert graphs_of(
        ["onnx/model.onnx", "onnx/../../x.onnx", "a/b/model.onnx", "/model.onnx", "../m.onnx"]
    ) == ["onnx/model.onnx"]


def test_weights_beside_a_graph_belong_to_it_alone():
    names = [
        "onnx/model.onnx_data",
        "onnx/model.onnx_data_1",
        "onnx/model.onnx.data",
        "onnx/model_q4.onnx_data",
    ]

    assert companions("onnx/model.onnx", names) == [
        "onnx/model.onnx.data",
        "onnx/model.onnx_data",
        "onnx/model.onnx_data_1",
    ]
