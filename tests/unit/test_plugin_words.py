"""The plugins that speak: what they ask a model, and what they make of its words."""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from enrich.plugins import answer, caption, embed

import enrich
from enrich.errors import InferenceError, UsageError
from enrich.types import Answer, Caption, Context, Decoding, Generated, Question, Rendition, Statement


def picture(name: str = "a.jpg") -> Rendition:
    return Rendition(1, Path(name), 0, np.zeros((1, 1, 3), np.uint8), 1, 1, 1, 1)


PICTURE = picture()


class Model:
    """Says what it was asked, or the next of ``words``; knows English and French, and remembers."""

    name = "fake"

    def __init__(self, *words: str | Generated, answers: bool = True, captions: bool = True) -> None:
        self.words, self.answers, self.captions = list(words), answers, captions
        self.calls: list[tuple[list[Rendition], list[str], Decoding, float | None]] = []

    def caption_prompt(self, length: str | None, language: str | None) -> str:
        if language not in ("en", "fr", None) or not self.captions:
            raise UsageError(f"no {language}")
        return f"{language} {length}:"

    def answer_prompt(self, question: str, language: str | None) -> str:
        if not self.answers or language in ("de", "nl"):
            raise UsageError("no answers")
        return f"Q: {question}"

    def embed(self, items: Sequence[Any]) -> list[Any]:
        return [np.array([0.6, 0.8], np.float32) for _ in items]

    def generate(
        self,
        renditions: Sequence[Rendition],
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        deadline: float | None = None,
    ) -> list[Generated]:
        self.calls.append((list(renditions), list(prompts), decoding, deadline))
        return [self._say(prompt) for prompt in prompts]

    def _say(self, prompt: str) -> Generated:
        said = self.words.pop(0) if self.words else f"<{prompt}>"
        return said if isinstance(said, Generated) else Generated(said, "stop", 1, 1, 0.5)


def context(model: Any, options: Any, said: Sequence[Sequence[Statement]] = ((),)) -> Context:
    language, length = getattr(options, "lang", None), getattr(options, "length", None)
    return Context("step", options, model, said, language, length, 12.5, logging.getLogger("test"))


def captioned(model: Model, **options: Any) -> Caption | None:
    (result,) = caption.enrich_caption([PICTURE], context(model, caption.Options(**options)))
    return result


# caption


def test_a_caption_is_asked_for_by_length_and_language() -> None:
    model = Model()
    assert captioned(model) == Caption("<en normal:>", "en", 0.5)
    assert captioned(model, length="long", lang="fr") == Caption("<fr long:>", "fr", 0.5)
    assert [call[3] for call in model.calls] == [12.5, 12.5]


def test_own_words_are_asked_as_a_question_where_the_model_answers_some() -> None:
    said = [(Statement("ocr", "", "text", "SALE"),)]
    options = caption.Options(prompt="{file_name} says {ocr}?", length="long")
    model, other = Model(), Model(answers=False)
    assert caption.enrich_caption([PICTURE], context(model, options, said)) == [
        Caption("<Q: a.jpg says SALE?>", None, 0.5)
    ]
    (result,) = caption.enrich_caption([PICTURE], context(other, options, said))
    assert result.text == "<a.jpg says SALE?>"
    assert model.calls[0][2].max_tokens == 96
    assert captioned(Model(), prompt="Quoi ?", lang="fr") == Caption("<Q: Quoi ?>", "fr", 0.5)


def test_how_words_are_chosen_reaches_the_model() -> None:
    model = Model()
    captioned(model, temperature=0.7, top_k=5, top_p=0.9, repetition_penalty=1.2, seed=3, max_tokens=9)
    captioned(model, beams=4)
    assert [call[2] for call in model.calls] == [
        Decoding(9, None, 0.7, 5, 0.9, 1.2, 3),
        Decoding(beams=4, seed=0),
    ]


def test_no_words_are_no_caption() -> None:
    assert captioned(Model(" \n")) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("A dog. A cat on a", "A dog."),
        ("A dog on a", "A dog on a"),
        ("Is it 2.5 m? Yes. It", "Is it 2.5 m? Yes."),
        ("犬です。猫", "犬です。"),
    ],
)
def test_a_sentence_that_the_budget_cut_is_left_out(text: str, kept: str) -> None:
    made = captioned(Model(Generated(text, "length", 1, 1)))
    assert made is not None
    assert made.text == kept


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A dog\non a mat.", "A dog on a mat."),
        ("Alt text: A dog.", "A dog."),
        ("alt-text: “A dog.”", "A dog."),
        ('"A dog."', "A dog."),
        ("A dog. #dog #cute", "A dog."),
        ("A dog - royalty-free stock photo", "A dog"),
        ("A dog | Stock Photography.", "A dog"),
        ("A photographer's stock - in boxes", "A photographer's stock - in boxes"),
        ("“A” is for “apple”", "A” is for “apple"),
    ],
)
def test_alt_text_is_one_line_without_what_does_not_belong(text: str, line: str) -> None:
    made = captioned(Model(text), length="alt_text")
    assert made is not None
    assert made.text == line


def test_what_comes_before_the_picture_is_trimmed_where_it_is_wanted() -> None:
    said = "In this image, we can see a red boat. The image shows the sea."
    kept, trimmed = captioned(Model(said)), captioned(Model(said), trim=True)
    assert (kept, trimmed) == (
        Caption(said, "en", 0.5),
        Caption("A red boat. The image shows the sea.", "en", 0.5),
    )


class Polyglot(Model):
    """Knows two languages."""

    languages = ("en", "fr")


GERMAN = "Das Bild zeigt zwei Menschen, die bei Sonnenuntergang am Strand spazieren gehen."
FRENCH = "L'image montre deux personnes qui marchent sur la plage au coucher du soleil."


def test_a_text_in_another_language_is_asked_for_once_more() -> None:
    model = Polyglot(GERMAN, FRENCH)
    assert captioned(model, lang="fr", seed=4) == Caption(FRENCH, "fr", 0.5)
    (_, first, *_), (_, second, decoding, _) = model.calls
    assert first == second == ["fr normal:"]
    assert (decoding.temperature, decoding.seed) == (0.7, 5)


def test_own_words_say_the_language_the_second_time() -> None:
    model = Polyglot(GERMAN, FRENCH)
    captioned(model, lang="fr", prompt="Who is it?")
    assert model.calls[1][1] == ["Q: Who is it? Réponds en français."]


def test_only_the_pictures_in_question_are_asked_about_again() -> None:
    model = Polyglot(FRENCH, GERMAN, FRENCH, FRENCH)
    other = picture("b.jpg")
    options = caption.Options(lang="fr")
    own = dataclasses.replace(context(model, options, [(), (), ()]), language="fr")
    written = caption.enrich_caption([PICTURE, other, PICTURE], own)
    assert [one.text for one in written if one] == [FRENCH] * 3
    assert model.calls[1][0] == [other]


def test_another_language_twice_fails_the_job_and_says_so() -> None:
    with pytest.raises(InferenceError, match="asked twice and did not write in the language fr"):
        captioned(Polyglot(GERMAN, GERMAN), lang="fr")


def test_one_language_alone_is_not_judged_nor_where_nobody_wants_it() -> None:
    assert captioned(Model(GERMAN), lang="fr") == Caption(GERMAN, "fr", 0.5)
    assert captioned(Polyglot(GERMAN), lang="fr", check_lang=False) == Caption(GERMAN, "fr", 0.5)


def test_how_a_language_is_checked_makes_no_caption_stale() -> None:
    assert caption.Options(check_lang=False).model_dump() == caption.Options().model_dump()


def test_a_language_the_model_does_not_know_is_refused_at_the_start() -> None:
    caption.check(caption.Options(lang="fr"), Model())
    with pytest.raises(UsageError, match="no nl"):
        caption.check(caption.Options(lang="nl"), Model())
    with pytest.raises(UsageError, match="no nl"):
        caption.check(caption.Options(lang="nl", prompt="Wat?"), Model())
    caption.check(caption.Options(prompt="Wat?"), Model())
    caption.check(caption.Options(prompt="Quoi ?", lang="fr"), Model(answers=False))
    caption.check(caption.Options(prompt="What?"), Model(captions=False))
    with pytest.raises(UsageError):
        caption.check(caption.Options(), Model(captions=False))


@pytest.mark.parametrize(
    "options",
    [
        {"length": "huge"},
        {"lang": "not a language"},
        {"beams": 0},
        {"beams": 2, "temperature": 0.5},
        {"top_p": 0},
        {"max_tokens": 0},
        {"prompt": "{"},
        {"lenght": "long"},
    ],
)
def test_wrong_options_of_captions_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        caption.Options(**options)


# answer


def test_all_questions_of_all_pictures_are_one_call_over_the_same_renditions() -> None:
    first, second = picture("a.jpg"), picture("b.jpg")
    questions = [Question("color", "What colour?"), Question("people", "How many?", "number")]
    options = answer.Options(questions={"color": "?"}, beams=2, max_tokens=7)
    model = Model("red", "two", "blue", "no idea")
    assert answer.enrich_answer([first, second], questions, context(model, options)) == [
        [Answer("red", "red", 0.5), Answer("two", 2, 0.5)],
        [Answer("blue", "blue", 0.5), Answer("no idea", None, 0.5)],
    ]
    ((renditions, prompts, decoding, deadline),) = model.calls
    assert [id(one) for one in renditions] == [id(first), id(first), id(second), id(second)]
    assert prompts == ["Q: What colour?", "Q: How many?"] * 2
    assert (decoding, deadline) == (Decoding(7, 2), 12.5)


def test_questions_are_asked_together_and_what_is_missing_alone() -> None:
    model = Model(
        '{"colour": "Red", "people": 2}', "```json\n{'colour': 'blue', 'people': 'a crowd',", "three or so: 3"
    )
    asked = {"colour": "What colour?", "people": {"ask": "How many?", "type": "number"}}
    options = answer.Options(questions=asked, together=True)
    questions = [Question("colour", "What colour?"), Question("people", "How many?", "number")]
    other = picture("b.jpg")

    answers = answer.enrich_answer([PICTURE, other], questions, context(model, options, [(), ()]))

    assert answers == [
        [Answer("Red", "Red", 0.5), Answer("2", 2, 0.5)],
        [Answer("blue", "blue", 0.5), Answer("three or so: 3", None, 0.5)],
    ]
    (renditions, (first, second), decoding, _), alone = model.calls
    assert renditions == [PICTURE, other]
    assert first == second
    assert '"people": How many? (a number)' in first
    assert decoding.max_tokens > 48
    assert alone[:2] == ([other], ["Q: How many?"])


def test_one_question_is_never_asked_as_json() -> None:
    model = Model()
    options = answer.Options(questions={"colour": "What colour?"}, together=True)
    questions = [Question("colour", "What colour?"), Question("empty", " ")]
    answer.enrich_answer([PICTURE], questions, context(model, options))
    assert [call[1] for call in model.calls] == [["Q: What colour?"]]


def test_an_empty_question_is_not_asked() -> None:
    questions = [Question("a", " "), Question("b", "B?")]
    options = answer.Options(questions={"a": "?"})
    assert answer.enrich_answer([PICTURE], questions, context(Model("yes"), options)) == [
        [None, Answer("yes", "yes", 0.5)]
    ]
    assert answer.enrich_answer([PICTURE], questions[:1], context(Model(), options)) == [[None]]
    assert answer.enrich_answer([], questions, context(Model(), options)) == []


def test_a_model_that_cannot_answer_is_refused_at_the_start_by_its_question() -> None:
    options = answer.Options(questions={"a": "A?", "b": {"ask": "B?", "lang": "de"}})
    with pytest.raises(UsageError, match=r"questions\.b: no answers"):
        answer.check(options, Model())
    with pytest.raises(UsageError, match=r"questions\.a: no answers"):
        answer.check(options, Model(answers=False))
    with pytest.raises(UsageError, match=r"questions\.a: no answers"):
        answer.check(answer.Options(questions={"a": "A?"}, lang="de"), Model())


def test_an_answer_step_needs_questions() -> None:
    with pytest.raises(pydantic.ValidationError, match="questions"):
        answer.Options()


def answered(model: Model, *questions: Question, **options: Any) -> list[Answer | None]:
    options.setdefault("questions", {one.name: "?" for one in questions})
    (answers,) = answer.enrich_answer([PICTURE], questions, context(model, answer.Options(**options)))
    return list(answers)


def test_what_cannot_be_read_is_the_likeliest_of_the_choices() -> None:
    questions = [
        Question("ground", "What ground?", "choice", ("white", "grey")),
        Question("is_day", "Fait-il jour ?", "boolean", language="fr"),
        Question("is_wet", "Wet?", "boolean"),
        Question("people", "How many?", "number"),
    ]
    model = Model("a wall", "je ne sais pas", "No.", "a crowd", Generated("grey", "stop", 1, 1, 0.6), "Oui")
    assert answered(model, *questions) == [
        Answer("grey", "grey", 0.6),
        Answer("Oui", True, 0.5),
        Answer("No.", False, 0.5),
        Answer("a crowd", None, 0.5),
    ]
    assert [(call[1], call[2].choices, call[3]) for call in model.calls[1:]] == [
        (["Q: What ground?"], ("white", "grey"), 12.5),
        (["Q: Fait-il jour ?"], ("Oui", "Non"), 12.5),
    ]


def test_one_call_chooses_for_all_pictures_that_have_the_same_choices() -> None:
    questions = [Question("day", "Day?", "boolean"), Question("wet", "Wet?", "boolean")]
    model = Model("hm", "yes", "hm", "hm", "Yes", "No", "No")
    options = answer.Options(questions={"day": "?", "wet": "?"})
    made = answer.enrich_answer([PICTURE, picture("b.jpg")], questions, context(model, options))
    assert [[one.value for one in row if one] for row in made] == [[True, True], [False, False]]
    assert [call[1] for call in model.calls[1:]] == [["Q: Day?", "Q: Day?", "Q: Wet?"]]


def test_a_model_without_tokens_for_the_choices_answers_in_its_own_words() -> None:
    class Wordless(Model):
        def generate(self, renditions: Any, prompts: Any, decoding: Decoding, **more: Any) -> Any:
            if decoding.choices:
                raise UsageError("choices: the model has no tokens for 'white'")
            return super().generate(renditions, prompts, decoding, **more)

    asked = Question("ground", "What ground?", "choice", ("white", "grey"))
    assert answered(Wordless("a wall"), asked) == [Answer("a wall", None, 0.5)]


ASKED = Question("scene", "Qu'est-ce que c'est ?", language="fr")


def test_an_answer_in_another_language_is_asked_for_once_more() -> None:
    model = Polyglot("un chien", GERMAN, "un chien", FRENCH)
    dog = Question("dog", "Quel animal ?", language="fr")
    assert answered(model, dog, ASKED) == [
        Answer("un chien", "un chien", 0.5),
        Answer("un chien", "un chien", 0.5),
    ]
    (_, prompts, decoding, deadline) = model.calls[1]
    assert prompts == ["Q: Qu'est-ce que c'est ? Réponds en français."]
    assert (decoding.temperature, decoding.seed, deadline) == (0.7, 1, 12.5)


def test_an_answer_in_another_language_twice_fails_and_says_so() -> None:
    with pytest.raises(InferenceError, match=r"did not write in the language fr; .* set check_lang: false"):
        answered(Polyglot(GERMAN, GERMAN), ASKED)


def test_answers_are_judged_only_where_a_language_was_asked_for_and_they_are_words() -> None:
    free, told = Question("a", "?"), Answer(GERMAN, GERMAN, 0.5)
    assert answered(Polyglot(GERMAN), free) == [told]
    assert answered(Polyglot(GERMAN), ASKED, check_lang=False) == [told]
    assert answered(Model(GERMAN), ASKED) == [told]
    number = dataclasses.replace(ASKED, type="number")
    assert answered(Polyglot(GERMAN), number) == [Answer(GERMAN, 2, 0.5)]
    quoted = f"Il est écrit « {GERMAN} » sur le mur de la maison."
    assert answered(Polyglot(quoted), ASKED) == [Answer(quoted, quoted, 0.5)]
    assert answer.Options(questions={"a": "?"}, check_lang=False).model_dump() == (
        answer.Options(questions={"a": "?"}).model_dump()
    )


def test_what_was_said_together_in_another_language_is_asked_alone() -> None:
    model = Polyglot(json.dumps({"scene": GERMAN, "people": 2}), FRENCH)
    people = Question("people", "Combien ?", "number", language="fr")
    assert answered(model, ASKED, people, together=True) == [
        Answer(FRENCH, FRENCH, 0.5),
        Answer("2", 2, 0.5),
    ]
    assert model.calls[1][1] == ["Q: Qu'est-ce que c'est ?"]


# embed


def test_a_place_for_each_picture() -> None:
    made = embed.enrich_embed([PICTURE, PICTURE], context(Model(), {}))
    assert [one.vector.tolist() for one in made] == [[pytest.approx(0.6), pytest.approx(0.8)]] * 2
    assert embed.enrich_embed([], context(Model(), {})) == []


def test_a_model_without_a_space_is_refused_at_the_start() -> None:
    class Classifier:
        def embed(self, items: Sequence[Any]) -> None:
            raise UsageError("it cannot embed")

    embed.check({}, Model())
    with pytest.raises(enrich.EnrichError, match="it cannot embed"):
        embed.check({}, Classifier())


def test_all_three_need_a_model() -> None:
    assert all(plugin.needs_model for plugin in (caption, answer, embed))
