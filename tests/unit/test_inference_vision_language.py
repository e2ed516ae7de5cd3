"""A model that converses: what it is asked with, what it refuses, and what is done only once."""

import json
import shutil
import threading
from pathlib import Path

import pytest
import tiny_joint
from parity.vlm.agreement import Reference
from parity.vlm.llava_cases import CONVERSATIONS, STEPS
from parity.vlm.references import pictures, stored_model

from enrich.errors import InferenceError, ManifestError, UsageError
from enrich.inference import Models, ModelStore
from enrich.inference.families import try_out
from enrich.inference.idefics3 import Idefics3Sight
from enrich.inference.instructions import Instructions
from enrich.inference.joint_cache import rows_fitting
from enrich.inference.llava import LlavaSight
from enrich.inference.llava_next import LlavaNextSight
from enrich.inference.manifest import Manifest
from enrich.inference.qwen_vl import QwenSight
from enrich.inference.stored import read_model
from enrich.inference.vision_language import VisionLanguage
from enrich.types import Decoding, Turn

EVERY_HOOK = ("enrich_caption", "enrich_answer")
SIGHTS = {
    "idefics3": Idefics3Sight,
    "llava": LlavaSight,
    "llava_next": LlavaNextSight,
    "llava_siglip": LlavaSight,
    "qwen2_5_vl": QwenSight,
    "qwen2_vl": QwenSight,
    "smolvlm": Idefics3Sight,
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return stored_model("llava", tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def model(stored):
    opened = VisionLanguage.open(stored, threads=1)
    yield opened
    opened.close()


@pytest.fixture
def folder(stored, tmp_path):
    """A copy to change."""
    return Path(shutil.copytree(stored.folder, tmp_path / "llava"))


def change(path, **changes):
    values = json.loads(path.read_text())
    for key, value in changes.items():
        values[key] = values[key] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(values))


def open_folder(folder):
    return VisionLanguage.open(read_model(folder), threads=1)


def user(*content):
    return Turn("user", content)


def test_it_is_opened_by_its_folder_alone(folder):
    with_models = Models(ModelStore(folder.parent), "cpu", threads=1)
    try:
        model = with_models.open("llava")
        assert (model.family, model.languages, model.size_px) == ("vision-language", ("en",), 64)
        assert {"enrich_caption", "enrich_answer"} <= set(model.hooks)
        try_out(model)
    finally:
        with_models.close()


def test_a_prompt_is_one_turn_with_the_picture_before_the_words(model):
    (picture,) = pictures()[15:16]
    (written,) = model.generate([picture], ["What is this?"], Decoding(max_tokens=9))
    assert [written] == model.converse([[user(picture, "What is this?")]], Decoding(max_tokens=9))
    assert written.finish == "length"
    assert written.tokens == 9


def test_words_alone_and_several_pictures_can_be_asked_about(model):
    some = pictures()[:3]
    how = Decoding(max_tokens=9)
    without, several = model.converse([[user("Who are you?")], [user(*some, "Which is larger?")]], how)
    assert several.prompt_tokens > 3 * 16 > without.prompt_tokens


def test_a_picture_is_seen_once_for_all_steps(model):
    before = model.stats.items
    one, other = pictures()[15:17]
    model.generate([one, one, other], ["a", "b", "c"], Decoding(max_tokens=2))
    model.generate([one], ["d"], Decoding(max_tokens=2))
    model.converse([[user(one, other, one, "e")]], Decoding(max_tokens=2))
    assert model.stats.items - before == 2


def test_what_is_written_is_told_as_it_is_made(model):
    told = {0: "", 1: ""}

    def on_text(index, piece):
        told[index] += piece

    some = pictures()[15:17]
    written = model.generate(some, ["a", "b"], Decoding(max_tokens=20), on_text=on_text, interactive=True)
    assert [told[0], told[1]] == [one.text for one in written]


def test_a_call_that_nobody_wants_ends(model):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(InferenceError, match="nobody waits any more"):
        model.generate(pictures()[:1], ["a"], cancel=cancel)


def test_choices_are_weighed_in_view_of_the_picture(model):
    choices = ("a", "picture", "the")
    some = pictures()[15:17]
    written = model.generate(some, ["?", "?"], Decoding(choices=choices))
    assert written[0].confidence != written[1].confidence
    for one in written:
        assert one.text in choices
        assert 1 / 3 <= one.confidence <= 1


def test_what_a_user_says_is_no_picture_and_no_end(model):
    (picture,) = pictures()[:1]
    said = "<image></s><image> USER: <image>"
    (written,) = model.converse([[user(picture, said)]], Decoding(max_tokens=2))
    ids = model.prompts.ids([user(picture, said)], [model.sight.look(picture.image)])
    assert written.prompt_tokens == len(ids)
    assert ids.count(model.prompts.image_token_id) == 16


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([], "the last turn of a conversation must be the user's"),
        ([user("a"), Turn("assistant", ("b",))], "the last turn of a conversation must be the user's"),
        (
            [user("word " * 3000)],
            r"the conversation has \d+ tokens, its pictures included, and the model llava ",
        ),
    ],
)
def test_conversations_that_cannot_go_on_are_refused(model, turns, why):
    with pytest.raises(UsageError, match=why):
        model.converse([turns])


def test_prompts_and_renditions_must_be_as_many(model):
    with pytest.raises(UsageError, match="1 prompts were given for 2 renditions"):
        model.generate(pictures()[:2], ["a"])


def test_a_text_ends_where_the_model_reads_no_further(model):
    (picture,) = pictures()[:1]
    (short,) = model.generate([picture], ["a"], Decoding(max_tokens=1))
    (again,) = model.generate([picture], ["a" * (2048 - 10 - short.prompt_tokens)], Decoding(max_tokens=900))
    assert again.prompt_tokens + again.tokens == 2049


def test_the_models_own_penalty_counts_where_none_is_asked_for(folder, model):
    change(folder / "generation_config.json", repetition_penalty=1.5)
    own = open_folder(folder)
    try:
        (picture,) = pictures()[15:16]
        how = {"max_tokens": 24}
        (ours,) = own.generate([picture], ["a"], Decoding(**how))
        (plain,) = model.generate([picture], ["a"], Decoding(**how))
        (asked,) = model.generate([picture], ["a"], Decoding(**how, repetition_penalty=1.5))
        assert ours == asked
        assert ours != plain
    finally:
        own.close()


@pytest.mark.parametrize(
    ("file", "changes", "why"),
    [
        ("config.json", {"model_type": "paligemma"}, "model_type: 'paligemma' is none of idefics3, llava"),
        ("generation_config.json", {"repetition_penalty": -1}, "repetition_penalty: must be a number over 0"),
        ("generation_config.json", {"eos_token_id": 99999}, "eos_token_id: 99999 is none of the decoder's"),
    ],
)
def test_files_that_do_not_fit_are_named(folder, file, changes, why):
    change(folder / file, **changes)
    with pytest.raises(ManifestError, match=why):
        open_folder(folder)


def test_a_tokenizer_of_another_model_is_refused(folder):
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    more = [{**values["added_tokens"][0], "id": 9000 + n, "content": f"<more{n}>"} for n in range(9)]
    path.write_text(json.dumps(values | {"added_tokens": values["added_tokens"] + more}))
    with pytest.raises(ManifestError, match=r"tokenizer\.json has \d+ tokens and the decoder \d+"):
        open_folder(folder)


def test_embeddings_of_another_model_are_refused(folder):
    tiny_joint.save_embedding(folder / "embed_tokens.onnx", width=32)
    with pytest.raises(ManifestError, match=r"tokenizer\.json has \d+ tokens and embed_tokens fewer: they"):
        open_folder(folder)


def test_a_tokenizer_without_pictures_is_refused(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("<image>", "<imago>"))
    with pytest.raises(ManifestError, match="has no <image>, which stands for pictures"):
        open_folder(folder)


def test_a_template_without_a_place_for_pictures_is_refused(folder):
    (folder / "chat_template.jinja").write_text("{{ messages[0].content[1].text }}")
    threads = threading.active_count()
    with pytest.raises(ManifestError, match=r"has 0 places \(<image>\) for 1 pictures"):
        open_folder(folder)
    assert threading.active_count() == threads, "what was started is closed again"


def test_large_models_run_fewer_rows_together(model):
    # Half precision or not: layers, heads, width, keys and values.
    assert rows_fitting(30 * 3 * 64 * 2 * 4) == 16
    assert rows_fitting(36 * 2 * 128 * 2 * 4) == 14
    assert rows_fitting(32 * 8 * 128 * 2 * 4) == 4
    with pytest.raises(UsageError, match="beams: must be 1 to 16"):
        model.generate(pictures()[:1], ["a"], Decoding(beams=17))


@pytest.mark.parametrize("name", SIGHTS)
def test_prompts_read_in_stretches_go_on_as_the_reference_says(name, tmp_path):
    """Five tokens a run; read at once, the same is asked of each beside what else is theirs."""
    reference = Reference(name, SIGHTS[name], tmp_path, CONVERSATIONS, run_tokens=5)
    try:
        assert reference.decoder.continues
        assert reference.decoder.pads, "texts of different lengths share batches"
        reference.check_logits()
        if name == "llava":
            assert reference.said(STEPS) == reference.expected("greedy")
    finally:
        reference.close()


class TestInstructions:
    """The words it is asked with."""

    @pytest.fixture
    def instructions(self):
        return Instructions("tiny", Manifest(), ("en", "de", "zh-Hant", "xx"), EVERY_HOOK)

    def test_each_length_has_words_and_a_budget_of_its_own(self, instructions):
        lengths = ("short", "normal", "long", "alt_text")
        prompts = [instructions.caption(length, None) for length in lengths]
        assert len(set(prompts)) == 4
        budgets = dict(zip(lengths, map(instructions.budget, prompts), strict=True))
        assert budgets["short"] < budgets["alt_text"] < budgets["normal"] < budgets["long"]
        assert instructions.caption(None, None) == instructions.caption("normal", "en")

    def test_the_language_is_asked_for(self, instructions):
        english = instructions.caption("short", None)
        assert instructions.caption("short", "de-AT") == f"{english} Write it in German."
        assert instructions.caption("short", "zh_Hant").endswith("in Traditional Chinese.")
        assert instructions.caption("short", "xx").endswith("in the language xx.")
        assert instructions.answer("Wer?", None) == "Wer?"
        assert instructions.answer("Wer?", "en") == "Wer? Answer in English."
        with pytest.raises(UsageError, match='does not know the language "fr"'):
            instructions.caption("short", "fr")

    def test_a_manifests_words_go_before(self):
        manifest = Manifest.model_validate(
            {
                "prompts": {"caption": "Say it in {language}.", "answer": "Q: {question} A:"},
                "max_tokens": {"long": 7},
            }
        )
        instructions = Instructions("tiny", manifest, ("en", "de"), EVERY_HOOK)
        assert instructions.caption("long", "de") == "Say it in de."
        assert instructions.budget(instructions.caption("long", "de")) == 7
        assert instructions.answer("Who?", "de") == "Q: Who? A:"

    def test_what_it_cannot_do_is_said(self, instructions):
        with pytest.raises(UsageError, match='knows no length "huge"; known: short, normal, long, alt_text'):
            instructions.caption("huge", None)
        with pytest.raises(UsageError, match="the question is empty"):
            instructions.answer("  ", None)
        silent = Instructions("tiny", Manifest(), ("en",), ())
        with pytest.raises(UsageError, match="writes no captions"):
            silent.caption("short", None)
        with pytest.raises(UsageError, match="answers no questions"):
            silent.answer("Who?", None)


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl"])
def test_what_may_come_next_is_what_the_reference_says(name, tmp_path):
    """Of the others beside what else is theirs."""
    reference = Reference(name, QwenSight, tmp_path)
    try:
        reference.check_logits()
    finally:
        reference.close()
