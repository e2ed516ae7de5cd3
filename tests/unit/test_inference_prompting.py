import pytest

from enrich.errors import UsageError
from enrich.inference.manifest import Manifest
from enrich.inference.prompting import Prompt, Prompting

BOTH = ("enrich_caption", "enrich_answer")


def prompting(languages=("en", "zh", "pt-BR"), hooks=BOTH, **manifest):
    return Prompting("tiny", Manifest.model_validate(manifest), languages, hooks)


def test_a_caption_is_asked_for_in_the_models_own_words():
    one = prompting(prompts={"caption": "{language} {length}:"})

    assert one.caption(None, None) == "en normal:"
    assert one.caption("alt_text", "zh") == "zh alt_text:"


def test_each_length_may_have_words_of_its_own():
    one = prompting(prompts={"caption": {"short": "brief", "long": "in {language}, at length"}})

    assert one.caption("long", None) == "in en, at length"
    with pytest.raises(UsageError, match=r'knows no length "normal"; known: short, long$'):
        one.caption(None, None)


def test_a_model_without_words_is_asked_with_none():
    assert prompting().caption("short", None) == ""
    with pytest.raises(UsageError, match='knows no length "huge"; known: short, normal, long, alt_text'):
        prompting().caption("huge", None)


def test_a_question_is_put_into_the_template_as_it_is():
    one = prompting(prompts={"answer": "Q ({language}): {question} A:"})

    assert one.answer(" {caption} 何色? ", "zh") == "Q (zh): {caption} 何色? A:"
    assert prompting().answer("What?", None) == "What?"


@pytest.mark.parametrize(
    ("asked", "known"), [("en-GB", "en"), ("EN", "en"), ("zh-Hant-TW", "zh"), ("pt_br", "pt-BR")]
)
def test_a_region_that_is_not_known_is_left_out(asked, known):
    assert prompting(prompts={"caption": "{language}"}).caption(None, asked) == known


@pytest.mark.parametrize("asked", ["fr", "pt", "", "e"])
def test_an_unknown_language_is_refused_with_those_that_are_known(asked):
    for ask in (prompting().caption, prompting().answer):
        with pytest.raises(
            UsageError, match=rf'^the model tiny does not know the language "{asked}"; known: en, zh, pt-BR$'
        ):
            ask("short", asked)


def test_what_a_model_cannot_do_is_said():
    with pytest.raises(UsageError, match="tiny answers no questions"):
        prompting(hooks=("enrich_caption",)).answer("What?", None)
    with pytest.raises(UsageError, match="tiny writes no captions"):
        prompting(hooks=("enrich_answer",)).caption(None, None)
    with pytest.raises(UsageError, match="the question is empty"):
        prompting().answer(" \n", None)


def test_the_budget_goes_with_the_purpose():
    one = prompting(max_tokens={"long": 200, "answer": 3})

    lengths = ("short", None, "long", "alt_text")
    assert [one.budget(one.caption(length, None)) for length in lengths] == [24, 48, 200, 40]
    assert one.budget(one.answer("What?", None)) == 3
    assert one.budget("own words") == 48


def test_a_prompt_is_a_string():
    prompt = Prompt("en short\n", "short")

    assert prompt == "en short\n"
    assert {prompt: 1}["en short\n"] == 1
    assert prompt.purpose == "short"
