import json

import pytest

from enrich.api.task_fields import KINDS
from enrich.errors import ModelMissing, UsageError
from enrich.hub import listed
from enrich.hub.selection import VARIANTS
from enrich.hub.target import parse_target
from enrich.inference import FAMILIES, ModelStore
from enrich.inference.instructions import Instructions
from enrich.inference.manifest import Manifest
from enrich.inference.store import check_name

EVERY = list(listed.LISTED.values())


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_each_model_of_the_list_is_described_whole(one):
    check_name(one.name)
    assert one.family in FAMILIES
    assert set(one.hooks) <= set(FAMILIES[one.family].hooks) | {"enrich_answer"}
    assert set(one.variants) <= set(VARIANTS)
    assert one.on_cpu in one.variants
    assert one.parameters > 0
    assert one.licence
    assert one.repository.count("/") == 1
    assert json.dumps(listed.described(one))
    # What it adds to a manifest is read as one.
    Manifest.model_validate({**one.manifest, "name": one.name})


def test_the_models_that_users_are_promised_are_there():
    promised = """blip-image-captioning-base blip-vqa-base vit-gpt2-image-captioning florence-2-base-ft
    smolvlm-256m smolvlm-500m qwen2.5-vl-3b qwen2.5-vl-7b llava-1.6-mistral-7b
    clip-vit-large-patch14 clip-vit-base-patch32
    siglip2-base vit-age-classifier open-age-detection ultraface-rfb-320 squeezenet fastestdet"""

    assert set(promised.split()) == set(listed.LISTED)


def test_no_name_means_two_models():
    aliases = [alias for one in EVERY for alias in one.aliases]
    repositories = [one.repository.lower() for one in EVERY]

    assert len(set(aliases)) == len(aliases)
    assert len(set(repositories)) == len(repositories)
    assert not set(aliases) & set(listed.LISTED)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("runware:150@2", "llava-1.6-mistral-7b"),
        ("runware:151@1", "clip-vit-large-patch14"),
        ("runware:152@1", "qwen2.5-vl-3b"),
        ("runware:152@2", "qwen2.5-vl-7b"),
        ("runware:152@50", "qwen2.5-vl-7b"),
        ("runware:153@1", "vit-age-classifier"),
        ("runware:154@1", "open-age-detection"),
        ("smolvlm-256m", "smolvlm-256m"),
        ("hf:HuggingFaceTB/SmolVLM-256M-Instruct", "smolvlm-256m"),
        ("Xenova/clip-vit-base-patch32", "clip-vit-base-patch32"),
        ("openai/clip-vit-base-patch32", "clip-vit-base-patch32"),
        ("hf:someone/birds", "birds"),
        ("mine", "mine"),
        ("a/b/c", "a/b/c"),
        ("hf:someone/birds@v2", "hf:someone/birds@v2"),
    ],
)
def test_a_model_has_one_name_whatever_it_is_called_by(said, name):
    assert listed.resolve(said) == name


def test_every_name_of_the_task_dialect_is_one_of_a_listed_model():
    assert set(KINDS) == set(listed.ALIASES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smolvlm-256m", 'no model "smolvlm-256m" in .*; run: enrich models pull smolvlm-256m'),
        (
            "runware:152@1",
            'no model "qwen2.5-vl-3b" in .*, which runware:152@1 is; run: enrich models export',
        ),
        ("fastestdet", "run: enrich models pull fastestdet"),
        ("hf:someone/birds", "which hf:someone/birds is; have: none; put a folder"),
    ],
)
def test_a_model_that_is_not_here_is_said_with_the_command_that_brings_it(tmp_path, name, message):
    store = ModelStore(tmp_path, resolve=listed.resolve, advice=listed.advice)

    with pytest.raises(ModelMissing, match=message):
        store.get(name)


@pytest.mark.parametrize(
    ("text", "repository", "revision", "name"),
    [
        ("smolvlm-256m", "HuggingFaceTB/SmolVLM-256M-Instruct", "main", "smolvlm-256m"),
        ("clip-vit-base-patch32", "Xenova/clip-vit-base-patch32", "main", "clip-vit-base-patch32"),
        ("vit-age-classifier", "nateraw/vit-age-classifier", "main", "vit-age-classifier"),
        ("hf:openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32", "main", "clip-vit-base-patch32"),
        ("hf:a/b", "a/b", "main", "b"),
        ("a/b", "a/b", "main", "b"),
        ("a/b@v1.0", "a/b", "v1.0", "b"),
        ("openai/clip-vit-base-patch32", "Xenova/clip-vit-base-patch32", "main", "clip-vit-base-patch32"),
        ("hf:a/b@v1.0", "a/b", "v1.0", "b"),
        ("runware:151@1", "Xenova/clip-vit-large-patch14", "main", "clip-vit-large-patch14"),
    ],
)
def test_what_shall_be_pulled_is_understood(text, repository, revision, name):
    target = parse_target(text)

    assert (target.repository, target.revision, target.name) == (repository, revision, name)
    assert parse_target(text, "mine").name == "mine"


def test_what_is_neither_listed_nor_of_the_hub_is_refused_with_what_there_is():
    with pytest.raises(
        ModelMissing, match=r'"birds" is not on the list; it has blip-image.*; others: hf:owner'
    ):
        parse_target("birds")
    for name in ("../x", ".hidden", ""):
        with pytest.raises(UsageError, match="cannot be a model"):
            parse_target("hf:a/b", name)


@pytest.mark.parametrize("text", ["hf:birds", "hf:", "hf:birds@v1", "hf:a/b/tree/main"])
def test_what_is_no_repository_is_said_with_how_one_is_called(text):
    with pytest.raises(UsageError, match=f'"{text.partition("@")[0]}" is no repository: .*hf:owner/name'):
        parse_target(text)


@pytest.mark.parametrize("name", ["qwen2.5-vl-3b", "qwen2.5-vl-7b"])
def test_a_model_of_many_languages_is_asked_in_them_and_in_no_others(name):
    one = listed.LISTED[name]
    manifest = Manifest.model_validate(one.manifest)
    asking = Instructions(name, manifest, manifest.languages, one.hooks)

    assert manifest.languages[0] == "en", "its default"
    assert "French" in asking.caption("normal", "fr")
    with pytest.raises(UsageError, match='does not know the language "fi"'):
        asking.caption("normal", "fi")
