import hashlib
import json
from pathlib import Path

import PIL.Image
import pytest
import tiny_graphs

from enrich.errors import ManifestError
from enrich.inference.manifest import Domain, Input, Manifest, Output, Prompts, ZeroShot
from enrich.inference.preprocess import Preprocessing
from enrich.inference.stored import read_model

VIT = {  # as old uploads have it: one number, no kind
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": 224,
}
CLIP = {
    "image_processor_type": "CLIPImageProcessor",
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
}
RESNET = {
    "feature_extractor_type": "ConvNextFeatureExtractor",
    "crop_pct": 0.875,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": 224,
}
CONFIG = {
    "architectures": ["ViTForImageClassification"],
    "id2label": {str(n): f"label {n}" for n in range(12)},
}


def exported(folder, processor=VIT, config=CONFIG):
    """A folder as an export of transformers leaves it, without a manifest."""
    folder.mkdir(parents=True)
    tiny_graphs.save_colour_means(folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def written(folder, values):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(b"")
    (folder / "manifest.json").write_text(values if isinstance(values, str) else json.dumps(values))
    return folder


def test_a_complete_manifest(tmp_path):
    folder = written(
        tmp_path / "birds",
        {
            "name": "birds",
            "family": "classifier",
            "revision": "v2",
            "licence": "MIT",
            "source": "https://example.org/birds",
            "description": "Two birds.",
            "knows": "drawings only",
            "graph": "model.onnx",
            "files": [{"path": "model.onnx", "sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}],
            "labels": ["owl", "tit"],
            "input": {
                "name": "x",
                "layout": "NHWC",
                "colour": "BGR",
                "resize": {"shortest_edge": 40},
                "resample": "Lanczos",
                "crop": 32,
                "scale": 1,
                "mean": [104, 117, 123],
                "std": [1, 2, 3],
            },
            "output": {"name": "y", "activation": "sigmoid"},
            "hooks": ["enrich_tag"],
            "domain": {"flat_share_min": 0.3},
        },
    )
    model = read_model(folder)

    assert (model.name, model.revision, model.labels) == ("birds", "v2", ("owl", "tit"))
    assert model.activation == "sigmoid"
    assert model.hooks == ("enrich_tag",)
    assert model.manifest.domain.flat_share_min == 0.3
    assert model.preprocessing == Preprocessing(
        resize=40,
        crop=(32, 32),
        resample=PIL.Image.Resampling.LANCZOS,
        scale=1,
        mean=(104, 117, 123),
        std=(1, 2, 3),
        colour="BGR",
        layout="NHWC",
    )
    assert model.file_problems() == []


def test_the_least_manifest(tmp_path):
    model = read_model(
        written(tmp_path / "m", {"labels": ["a"], "input": {"resize": {"height": 8, "width": 9}}})
    )

    assert model.activation == "softmax"
    assert model.hooks == ("enrich_tag", "enrich_age")
    assert model.preprocessing == Preprocessing((8, 9), None)


INPUT = {"resize": {"height": 8, "width": 8}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", r"manifest\.json, line 1: not JSON"),
        ('{"labels": ' + "[" * 200_000 + "]" * 200_000 + "}", r"manifest\.json: cannot be read: .*recursion"),
        ('{"graph": ' + "9" * 5_000 + "}", r"manifest\.json: cannot be read: .*digits"),
        ("[]", r"manifest\.json: must hold a JSON object"),
        ({"name": "other"}, 'name: is "other", and the folder "m"'),
        ({"family": "oracle"}, r"family: .*known: classifier"),
        ({"colour": "RGB"}, "colour: unknown key"),
        ({"labels": []}, "labels: .*must be a list of names"),
        ({"labels": ["a", ""]}, "labels: .*must be a list of names"),
        ({"labels": {"0": "a"}}, "labels: .*must be a list of names"),
        ({"labels": "none.txt"}, r"labels: .*none\.txt cannot be read"),
        ({"labels": "../labels.txt"}, r"labels: \.\./labels\.txt leads out"),
        ({"labels": None}, r"config\.json: id2label: missing"),
        ({"input": None}, "input: missing, and there is neither"),
        ({"input": {"crop": 0}}, r"input\.crop\.height: .*greater than or equal to 1"),
        ({"input": {"resize": {"shortest_edge": 256}}}, "input: .*give crop"),
        ({"input": {"resize": {"height": 256}}}, r"input\.resize: .*give either"),
        ({"input": {**INPUT, "resample": "best"}}, r"input\.resample: .*none of nearest"),
        ({"input": {**INPUT, "mean": [1, 2]}}, r"input\.mean\.2: "),
        ({"input": {**INPUT, "std": [1, 0, 1]}}, r"input\.std\.1: .*greater than 0"),
        ({"input": {**INPUT, "scale": "1/255"}}, r"input\.scale: .*number"),
        ({"input": {**INPUT, "layout": "CHW"}}, r"input\.layout: "),
        ({"output": {"activation": "tanh"}}, r"output\.activation: "),
        ({"domain": {"flat_share_min": 2}}, r"domain\.flat_share_min: "),
        (
            {"prompts": {"caption": "{question}"}},
            r"prompts\.caption.*may hold {language}, {length} and no other",
        ),
        ({"prompts": {"caption": {"brief": "x"}}}, r"prompts\.caption"),
        ({"prompts": {"answer": "{language}"}}, r"prompts\.answer: .*must hold {question} once"),
        ({"prompts": {"answer": "{question.__class__}"}}, r"prompts\.answer: .*no other placeholder"),
        ({"prompts": {"answer": "{question:>9}"}}, r"prompts\.answer: .*no other placeholder"),
        ({"prompts": {"answer": "{question} {"}}, r"prompts\.answer: .*written twice"),
        ({"languages": ["English, please"]}, r"languages\.0: "),
        ({"max_tokens": {"huge": 9}}, r"max_tokens\.huge"),
        ({"max_tokens": {"short": 0}}, r"max_tokens\.short: .*greater"),
        ({"zero_shot": {"template": "a photo"}}, r"zero_shot\.template: .*must hold {} once"),
        ({"zero_shot": {"template": "{a}"}}, r"zero_shot\.template: .*no other placeholder"),
        ({"zero_shot": {"scale": 0}}, r"zero_shot\.scale: .*greater"),
        ({"zero_shot": {"activation": "none"}}, r"zero_shot\.activation: "),
        ({"graph": "other.onnx"}, r"graph: there is no file other\.onnx"),
        ({"graph": "/etc/hostname"}, "graph: /etc/hostname leads out"),
        ({"files": [{"path": "../x", "sha256": "0" * 64}]}, r"files: \.\./x leads out"),
        ({"files": [{"path": "x", "sha256": "abc"}]}, r"files\.0\.sha256: "),
        ({"files": [{"path": "x"}], "licence": 3}, r"licence: .*\(and 1 more\)$"),
    ],
)
def test_a_wrong_manifest_is_one_line_that_names_file_and_key(tmp_path, change, message):
    values = change if isinstance(change, str) else {"labels": ["a"], "input": INPUT} | change
    folder = written(tmp_path / "m", values)

    with pytest.raises(ManifestError, match=message) as caught:
        read_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere.onnx").write_bytes(b"")
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    (folder / "manifest.json").write_text(json.dumps({"labels": ["a"], "input": INPUT}))

    with pytest.raises(ManifestError, match=r"graph: model\.onnx leads out"):
        read_model(folder)


def test_a_folder_that_is_a_link_itself_is_fine(tmp_path):
    written(tmp_path / "elsewhere" / "m", {"labels": ["a"], "input": INPUT})
    (tmp_path / "m").symlink_to(tmp_path / "elsewhere" / "m")

    assert read_model(tmp_path / "m").labels == ("a",)


def test_two_graphs_need_a_choice(tmp_path):
    folder = written(tmp_path / "m", {"labels": ["a"], "input": INPUT})
    (folder / "int8.onnx").write_bytes(b"")

    with pytest.raises(ManifestError, match=r"graph: name the \.onnx file; the folder has int8\.onnx, model"):
        read_model(folder)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("tench\ngoldfish\n", ("tench", "goldfish")),
        ("\nperson\r\n bicycle \n\n", ("person", "bicycle")),
        (
            "0,tench, Tinca tinca\n1,goldfish, Carassius auratus\n",
            ("tench, Tinca tinca", "goldfish, Carassius auratus"),
        ),
        ("1: cat\n2: dog", ("cat", "dog")),
        ("0\tcat\n1\tdog", ("cat", "dog")),
        # Not a numbered list: the numbers are not those of the lines, or some lines have none.
        ("10,000 metres\n20,000 metres", ("10,000 metres", "20,000 metres")),
        ("0,cat\n1,dog\nowl", ("0,cat", "1,dog", "owl")),
        ("0-2\n3-9", ("0-2", "3-9")),
        ("0 years\n1 years", ("0 years", "1 years")),
    ],
)
def test_labels_from_a_file(tmp_path, text, labels):
    folder = written(tmp_path / "m", {"labels": "labels.txt", "input": INPUT})
    (folder / "labels.txt").write_text(text)

    assert read_model(folder).labels == labels


def test_an_export_of_transformers_needs_no_manifest(tmp_path):
    model = read_model(exported(tmp_path / "vit"))

    assert model.labels == tuple(f"label {n}" for n in range(12))
    assert model.activation == "softmax"
    assert model.preprocessing == Preprocessing((224, 224), None, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_many_labels_at_once_are_sigmoids(tmp_path):
    config = {**CONFIG, "problem_type": "multi_label_classification"}

    assert read_model(exported(tmp_path / "m", config=config)).activation == "sigmoid"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CONFIG, "architectures": ["DetrModel"]}, "architectures: DetrModel is none of"),
        ({"id2label": {"0": "a"}}, "architectures: none is none of"),
        ({**CONFIG, "id2label": {}}, "id2label: missing"),
        ({**CONFIG, "id2label": {"0": "a", "2": "b"}}, "id2label: the key '1' is missing"),
    ],
)
def test_a_wrong_config_names_its_key(tmp_path, config, message):
    with pytest.raises(ManifestError, match=rf"config\.json: {message}"):
        read_model(exported(tmp_path / "m", config=config))


STATISTICS = {"mean": tuple(CLIP["image_mean"]), "std": tuple(CLIP["image_std"])}
BICUBIC = PIL.Image.Resampling.BICUBIC


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (CLIP, Preprocessing(224, (224, 224), BICUBIC, CLIP["rescale_factor"], **STATISTICS)),
        (
            {**CLIP, "size": 224, "crop_size": 224},
            Preprocessing(224, (224, 224), BICUBIC, 0.00392156862745098, **STATISTICS),
        ),
        (
            {**CLIP, "do_resize": False},
            Preprocessing(None, (224, 224), BICUBIC, 0.00392156862745098, **STATISTICS),
        ),
        (
            {
                **VIT,
                "image_processor_type": "SiglipImageProcessorFast",
                "size": {"height": 384, "width": 256},
            },
            # Its own filter where none is named.
            Preprocessing((384, 256), None, BICUBIC, mean=(0.5,) * 3, std=(0.5,) * 3),
        ),
        (
            {**VIT, "image_processor_type": "BlipImageProcessor", "size": 96, "do_convert_rgb": True},
            Preprocessing((96, 96), None, BICUBIC, mean=(0.5,) * 3, std=(0.5,) * 3),
        ),
        ({**VIT, "do_rescale": False, "do_normalize": False}, Preprocessing((224, 224), None, scale=1.0)),
        (
            {**VIT, "image_mean": 0.5, "image_std": 0.25},
            Preprocessing((224, 224), None, mean=(0.5,) * 3, std=(0.25,) * 3),
        ),
        (
            {
                **VIT,
                "image_processor_type": "MobileViTImageProcessor",
                "do_normalize": False,
                "do_flip_channel_order": True,
                "size": 288,
                "do_center_crop": True,
                "crop_size": 256,
            },
            Preprocessing(288, (256, 256), colour="BGR"),
        ),
        # int(224 / 0.875) = 256, then a crop of 224; from 384 on both edges.
        (
            RESNET,
            Preprocessing(256, (224, 224), BICUBIC, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ),
        (
            {**RESNET, "size": {"shortest_edge": 384}},
            Preprocessing((384, 384), None, BICUBIC, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ),
    ],
)
def test_image_processors(tmp_path, processor, expected):
    assert read_model(exported(tmp_path / "m", processor)).preprocessing == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image_processor_type": "EfficientNetImageProcessor"},
            "image_processor_type: EfficientNetImageProcessor is not",
        ),
        # NaFlex: patches and their places instead of a picture of one size.
        ({"image_processor_type": "Siglip2ImageProcessor"}, "Siglip2ImageProcessor is not known"),
        ({"size": None}, "size: must be"),
        ({"size": {"longest_edge": 512}}, r"resize\.longest_edge: unknown key"),
        ({"size": {"shortest_edge": 512}}, "give crop"),
        ({"image_mean": None}, "image_mean: missing"),
        ({"resample": 17}, "resample: "),
    ],
)
def test_a_wrong_image_processor_names_its_key(tmp_path, change, message):
    with pytest.raises(ManifestError, match=rf"preprocessor_config\.json: .*{message}"):
        read_model(exported(tmp_path / "m", {**VIT, **change}))


def test_a_processor_as_transformers_5_nests_it(tmp_path):
    folder = exported(tmp_path / "m")
    (folder / "preprocessor_config.json").unlink()
    nested = {"image_processor": CLIP, "processor_class": "CLIPProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(nested))

    assert read_model(folder).preprocessing.crop == (224, 224)


@pytest.mark.parametrize("text", [None, '{"processor_class": "BlipProcessor"}'])
def test_without_a_processor_both_its_files_are_named(tmp_path, text):
    folder = exported(tmp_path / "m")
    (folder / "preprocessor_config.json").unlink()
    if text:
        (folder / "processor_config.json").write_text(text)

    with pytest.raises(ManifestError, match=r"neither preprocessor_config\.json nor processor_config\.json"):
        read_model(folder)


def test_prompts_and_budgets(tmp_path):
    values = {
        "labels": ["a"],
        "input": INPUT,
        "prompts": {
            "caption": {"short": "{language} {{s}}", "long": "tell"},
            "answer": "{question} ({language})",
        },
        "languages": ["en", "zh-Hans"],
        "max_tokens": {"short": 8, "answer": 4},
        "zero_shot": {"scale": 100, "bias": -12.5, "activation": "sigmoid", "template": "a photo of {}"},
    }
    manifest = read_model(written(tmp_path / "m", values)).manifest

    assert manifest.prompts.caption["short"].format(language="de", length="short") == "de {s}"
    assert manifest.prompts.answer.format(question="Why {not}?", language="en") == "Why {not}? (en)"
    assert manifest.max_tokens == {"short": 8, "answer": 4}
    assert manifest.languages == ("en", "zh-Hans")
    assert manifest.zero_shot.bias == -12.5


def test_a_manifest_goes_before_the_files_of_transformers(tmp_path):
    folder = exported(tmp_path / "m")
    (folder / "manifest.json").write_text(json.dumps({"revision": "r7", "labels": ["x"]}))
    model = read_model(folder)

    assert (model.revision, model.labels) == ("r7", ("x",))
    assert model.preprocessing.resize == (224, 224)


def test_without_a_revision_it_is_a_hash_of_graph_and_weights(tmp_path):
    folder = exported(tmp_path / "m")
    revision = read_model(folder).revision
    (folder / "README.md").write_text("not a weight")

    assert revision.startswith("sha256-")
    assert read_model(folder).revision == revision
    (folder / "model.onnx_data").write_bytes(b"weights")
    assert read_model(folder).revision != revision


def test_the_manual_names_every_key():
    manual = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
    parts = {"output": Output, "domain": Domain, "prompts": Prompts, "zero_shot": ZeroShot}
    nested = {f"{name}.{key}" for name, part in parts.items() for key in part.model_fields}
    keys = (Manifest.model_fields.keys() - parts.keys()) | nested | Input.model_fields.keys()

    assert {key for key in keys if f"`{key}`" not in manual} == set()
