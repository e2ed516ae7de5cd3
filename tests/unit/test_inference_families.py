import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tiny_duals
import tiny_graphs

from enrich.errors import ManifestError, UsageError
from enrich.inference import FAMILIES, Models, ModelStore
from enrich.inference.families import family_of
from enrich.inference.stored import read_model
from enrich.types import Decoding, Rendition

REFERENCES = Path(__file__).resolve().parents[1] / "references"
PROCESSOR = {"image_processor_type": "ViTImageProcessor", "size": 8, "do_normalize": False}


def exported(folder, architecture, *graphs, **manifest):
    """A folder with empty graphs: enough to be read, not to be opened."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture], "id2label": {"0": "a"}}))
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    for graph in graphs:
        (folder / graph).parent.mkdir(exist_ok=True)
        (folder / graph).write_bytes(graph.encode())
    if manifest:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("architecture", "family", "hooks"),
    [
        ("ViTForImageClassification", "classifier", ("enrich_tag", "enrich_age")),
        ("SiglipForImageClassification", "classifier", ("enrich_tag", "enrich_age")),
        ("CLIPModel", "dual-encoder", ("enrich_tag", "enrich_embed")),
        ("SiglipModel", "dual-encoder", ("enrich_tag", "enrich_embed")),
        ("VisionEncoderDecoderModel", "encoder-decoder", ("enrich_caption",)),
        ("BlipForConditionalGeneration", "encoder-decoder", ("enrich_caption",)),
        ("BlipForQuestionAnswering", "encoder-decoder", ("enrich_answer",)),
    ],
)
def test_the_architecture_tells_the_family(tmp_path, architecture, family, hooks):
    assert family_of({"architectures": [architecture]}, tmp_path) == (family, hooks)
    assert family in FAMILIES


@pytest.mark.parametrize(
    "said",
    [
        ["AltCLIPModel"],
        ["ChineseCLIPModel"],
        ["Siglip2Model"],
        ["Blip2ForConditionalGeneration"],
        [],
        "CLIPModel",
        None,
        3,
    ],
)
def test_others_are_refused_with_what_is_known(tmp_path, said):
    with pytest.raises(
        ManifestError, match=r"config\.json: architectures: .* is none of \.\.\.ForImage.*CLIPModel"
    ):
        family_of({"architectures": said}, tmp_path / "config.json")


def test_a_prompt_for_answers_makes_a_captioner_answer(tmp_path):
    folder = exported(
        tmp_path / "m",
        "VisionEncoderDecoderModel",
        "encoder_model.onnx",
        "decoder_model_merged.onnx",
        prompts={"caption": "{language} {length}\n", "answer": "{question}\n"},
        languages=["en", "pt-BR"],
    )
    model = read_model(folder)

    assert model.hooks == ("enrich_caption", "enrich_answer")
    assert model.languages == ("en", "pt-BR")
    assert model.labels == ()


def test_what_writes_is_asked_in_english_unless_it_says_more(tmp_path):
    folder = exported(
        tmp_path / "m", "BlipForQuestionAnswering", "vision_encoder.onnx", "decoder_model_merged.onnx"
    )

    assert read_model(folder).languages == ("en",)


def test_the_manifests_hooks_go_before_the_architectures(tmp_path):
    folder = exported(tmp_path / "m", "CLIPModel", "model.onnx", hooks=["enrich_embed"])

    assert read_model(folder).hooks == ("enrich_embed",)


def test_any_graph_can_be_a_classifier_by_its_manifest(tmp_path):
    folder = exported(tmp_path / "m", "CLIPModel", "model.onnx", family="classifier", labels=["a"])

    assert read_model(folder).family == "classifier"


def test_other_families_need_their_architectures(tmp_path):
    folder = exported(tmp_path / "m", "ViTForImageClassification", "model.onnx", family="dual-encoder")

    with pytest.raises(
        ManifestError, match=r"family: a dual-encoder needs a config\.json .* CLIPModel, SiglipModel"
    ):
        read_model(folder)


CAPTIONER = "VisionEncoderDecoderModel"
HUB = (
    "onnx/encoder_model.onnx",
    "onnx/encoder_model_quantized.onnx",
    "onnx/decoder_model.onnx",
    "onnx/decoder_model_merged.onnx",
    "onnx/decoder_with_past_model.onnx",
)


@pytest.mark.parametrize(
    ("architecture", "files", "parts"),
    [
        ("ViTForImageClassification", ["best.onnx"], {"model": "best.onnx"}),
        (
            "ViTForImageClassification",
            ["onnx/model_fp16.onnx", "onnx/model.onnx"],
            {"model": "onnx/model.onnx"},
        ),
        ("ViTForImageClassification", ["onnx/best.onnx"], {"model": "onnx/best.onnx"}),
        ("CLIPModel", ["model.onnx"], {"model": "model.onnx"}),
        (
            "CLIPModel",
            ["onnx/model.onnx", "onnx/text_model.onnx", "onnx/vision_model.onnx"],
            {"vision": "onnx/vision_model.onnx", "text": "onnx/text_model.onnx", "model": "onnx/model.onnx"},
        ),
        (CAPTIONER, HUB, {"encoder": HUB[0], "decoder": HUB[3]}),
        (
            CAPTIONER,
            [HUB[0], HUB[2], HUB[4]],
            {"encoder": HUB[0], "decoder": HUB[2], "decoder_with_past": HUB[4]},
        ),
        (
            "BlipForQuestionAnswering",
            ["vision_encoder.onnx", "text_encoder.onnx", "decoder_model_merged.onnx"],
            {
                "encoder": "vision_encoder.onnx",
                "decoder": "decoder_model_merged.onnx",
                "text_encoder": "text_encoder.onnx",
            },
        ),
    ],
)
def test_graphs_are_found_where_exporters_and_the_hub_put_them(tmp_path, architecture, files, parts):
    folder = exported(tmp_path / "m", architecture, *files)
    model = read_model(folder)

    assert {part: str(path.relative_to(folder)) for part, path in model.graphs.items()} == parts
    assert model.graph == folder / next(iter(parts.values()))


@pytest.mark.parametrize(
    ("architecture", "files", "message"),
    [
        ("CLIPModel", ["vision_model.onnx"], r"no model\.onnx, or vision_model\.onnx with text_model\.onnx"),
        (CAPTIONER, ["decoder_model_merged.onnx"], r"no encoder_model\.onnx or vision_encoder\.onnx"),
        (CAPTIONER, ["encoder_model.onnx"], r"no decoder_model_merged\.onnx or decoder_model\.onnx"),
        ("ViTForImageClassification", [], r"graph: name the \.onnx file; the folder has none"),
        ("ViTForImageClassification", ["onnx/a.onnx", "onnx/b.onnx"], r"the folder has a\.onnx, b\.onnx"),
    ],
)
def test_a_missing_graph_is_named(tmp_path, architecture, files, message):
    with pytest.raises(ManifestError, match=message):
        read_model(exported(tmp_path / "m", architecture, *files))


def test_graph_names_one_and_an_encoder_decoder_has_several(tmp_path):
    graphs = ("encoder_model.onnx", "decoder_model_merged.onnx")
    folder = exported(tmp_path / "m", CAPTIONER, *graphs, graph=graphs[0])

    with pytest.raises(ManifestError, match="graph: encoder-decoder models have several"):
        read_model(folder)


def test_files_are_found_and_do_not_lead_out(tmp_path):
    folder = exported(tmp_path / "m", "CLIPModel", "onnx/model.onnx")
    (tmp_path / "tokenizer.json").write_text("{}")
    (folder / "tokenizer.json").symlink_to(tmp_path / "tokenizer.json")
    model = read_model(folder)

    assert model.file("config.json") == folder / "config.json"
    assert model.file("model.onnx") == folder / "onnx" / "model.onnx"
    assert model.file("absent.json") is None
    with pytest.raises(ManifestError, match=r"tokenizer\.json leads out"):
        model.file("tokenizer.json")


def test_the_revision_knows_every_graph_and_the_tokenizer(tmp_path):
    folder = exported(tmp_path / "m", "CLIPModel", "onnx/text_model.onnx", "onnx/vision_model.onnx")
    seen = {read_model(folder).revision}
    for name in ("onnx/text_model.onnx", "onnx/vision_model.onnx_data", "tokenizer.json"):
        (folder / name).write_bytes(b"other")
        seen.add(read_model(folder).revision)
    (folder / "README.md").write_text("not a weight")

    assert len(seen) == 4
    assert read_model(folder).revision in seen


def test_every_family_is_tried_out(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours")
    tiny_duals.write_dual(tmp_path / "clip")
    tiny_duals.write_dual(tmp_path / "siglip", siglip=True, split=True)
    tiny_duals.write_dual(tmp_path / "embeds", siglip=True, split=True, hooks=["enrich_embed"])
    store = ModelStore(tmp_path)

    assert [store.verify(name) for name in ("colours", "clip", "embeds")] == [()] * 3
    assert "zero_shot: nothing tells the scale" in store.verify("siglip")[0]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The tiny models of the references, exported from real architectures."""
    folder = tmp_path_factory.mktemp("models")
    with tarfile.open(REFERENCES / "models.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", ["ved", "ved-cached", "blip-caption", "blip-vqa", "vit", "clip", "siglip"])
def test_what_transformers_left_needs_no_manifest(recorded, name):
    assert not (recorded / name / "manifest.json").exists()
    assert ModelStore(recorded).verify(name) == ()


@pytest.mark.parametrize("name", ["ved", "clip"])
def test_graphs_may_lie_as_on_the_hub(recorded, tmp_path, name):
    folder = shutil.copytree(recorded / name, tmp_path / name)
    (folder / "onnx").mkdir()
    for graph in folder.glob("*.onnx"):
        graph.rename(folder / "onnx" / graph.name)

    assert ModelStore(tmp_path).verify(name) == ()


def test_a_captioner_that_answers_is_tried_with_both(recorded, tmp_path):
    folder = shutil.copytree(recorded / "ved", tmp_path / "ved")
    manifest = {"prompts": {"caption": "{language}", "answer": "{question}"}, "languages": ["de"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    store = ModelStore(tmp_path)

    assert store.get("ved").hooks == ("enrich_caption", "enrich_answer")
    assert store.verify("ved") == ()
    # A question that is far too long for it: the answer's half of the trial does run.
    manifest["prompts"]["answer"] = "a " * 500 + "{question}"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert store.verify("ved") != ()


@pytest.mark.parametrize("name", ["ved", "ved-cached", "blip-caption", "blip-vqa"])
def test_a_prompt_is_as_long_as_the_model_reads_or_empty(recorded, name):
    models = Models(ModelStore(recorded), "cpu", threads=1)
    model = models.open(name)
    grey = Rendition(None, None, 0, np.full((8, 8, 3), 128, np.uint8), 8, 8, 8, 8)

    with pytest.raises(
        UsageError, match=rf"the prompt has \d+ tokens, and the model {name} reads at most 64"
    ):
        model.generate([grey], ["a " * 70])
    (longest,) = model.generate([grey], [""], Decoding(max_tokens=1_000))
    assert (longest.tokens, longest.finish) == (64, "length")
    assert model.generate([], []) == []
    models.close()


def test_looking_for_families_loads_no_tokenizer(tmp_path):
    tiny_duals.write_dual(tmp_path / "clip")
    program = f"""
import sys
from pathlib import Path
from enrich.inference import ModelStore
assert [one.problem for one in ModelStore(Path({str(tmp_path)!r})).list()] == [None]
print(*sorted(sys.modules.keys() & {{"tokenizers", "onnxruntime"}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "\n"
