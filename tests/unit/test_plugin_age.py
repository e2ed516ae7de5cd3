"""Apparent ages by classifiers, regressors and models that answer; and what of a person is never said."""

import contextlib
import json
import logging
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import tiny_graphs
from enrich.plugins import age
from onnx import TensorProto, helper

from enrich.errors import UsageError
from enrich.inference import LabelScores
from enrich.inference.devices import Device
from enrich.inference.faces import cut_face, find_faces
from enrich.inference.families import open_model
from enrich.inference.stored import read_model
from enrich.replies.ages import parse_years, read_scale, years_of
from enrich.types import AgeGroup, Context, Decoding, Detection, Generated, Region, Rendition

REFERENCES = Path(__file__).resolve().parents[1] / "references" / "vlm"


def picture(level: int = 0, width: int = 40, height: int = 20) -> Rendition:
    pixels = np.full((height, width, 3), level, np.uint8)
    return Rendition(None, None, 0, pixels, width, height, width, height)


class Fake:
    """A model that can do nothing."""

    name = "fake"

    def __getattr__(self, method: str) -> Any:
        if method not in ("predict", "measure", "answer_prompt", "generate", "detect"):
            raise AttributeError(method)

        def refuse(*arguments: Any, **named: Any) -> Any:
            raise UsageError(f"it cannot {method}")

        return refuse


class Classifier(Fake):
    """Says the same of each picture; remembers what it saw."""

    def __init__(self, **probabilities: float) -> None:
        self.labels = tuple(probabilities)
        self.scores = LabelScores(self.labels, np.array(list(probabilities.values()), np.float32))
        self.seen: list[Rendition] = []

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> list[LabelScores]:
        self.seen += renditions
        return [self.scores] * len(renditions)


class Regressor(Fake):
    """Takes the level of a picture's middle for the age."""

    def measure(self, renditions: Sequence[Rendition]) -> list[float]:
        return [float(one.pixels[one.height_px // 2, one.width_px // 2, 0]) for one in renditions]


class Talker(Fake):
    """Sees a person in light pictures, and takes the last of the groups for light ones."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, tuple[str, ...], float | None]] = []
        self.hooks: tuple[str, ...] = ("enrich_age",)

    def answer_prompt(self, question: str, language: str | None) -> str:
        assert language == "en"
        return f"<{question}>"

    def generate(
        self,
        renditions: Sequence[Rendition],
        prompts: Sequence[str],
        decoding: Decoding,
        *,
        deadline: float | None = None,
    ) -> list[Generated]:
        assert set(prompts) == {prompts[0]}
        self.asked.append((len(renditions), prompts[0], decoding.choices, deadline))
        choices = decoding.choices
        light = [float(one.pixels.mean()) / 255 for one in renditions]
        if choices == ("Yes", "No"):
            return [Generated(choices[share < 0.3], "stop", 1, 1, 0.9) for share in light]
        return [Generated(choices[-1 if share > 0.6 else 0], "stop", 1, 1, 0.7) for share in light]


class Detector(Fake):
    """Finds the same faces in every picture, and in a cut of any of them that face in its middle."""

    labels = ("background", "face")

    def __init__(self, *regions: Region, name: str = "face", confidence: float = 0.9) -> None:
        self.found = [Detection(name, confidence, region) for region in regions]
        self.cuts = 0
        self.again = True

    def detect(self, renditions: Sequence[Rendition]) -> list[list[Detection]]:
        found = []
        for one in renditions:
            if one.width_px != one.height_px:
                found.append(self.found)
                continue
            self.cuts += 1
            middle = Region(0.2, 0.2, 0.6, 0.6)
            found.append([Detection("face", 0.9, middle)] if self.again else [])
        return found


def context(model: Any, detector: Any = None, deadline: float | None = None, **options: Any) -> Context:
    faces = {} if detector is None else {"faces": "finder"}
    checked = age.Options(**faces, **options)
    age.check(checked, model, {"finder": detector} if detector else {})
    made = Context("step", checked, model, [()], None, None, deadline, logging.getLogger("test"))
    return replace(made, models={"finder": detector} if detector else {})


def judged(model: Any, *pictures: Rendition, detector: Any = None, **options: Any) -> list[Any]:
    return age.enrich_age(pictures or [picture()], context(model, detector, **options))


# What is dropped


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("male_20-29", "20-29"),
        ("Female, 20 - 29 years", "20-29"),
        ("asian_woman_65+", "65+"),
        ("boy under 3", "0-2"),
        ("White 25", "25"),
        ("man in his 40s", "40-49"),
        ("MALE_10_19", "10-19"),
        ("Teenager 13-20", "Teenager 13-20"),
        ("Middle Age 45-64", "Middle Age 45-64"),
        ("more than 70", "more than 70"),
        ("YOUNG", "YOUNG"),
        ("adult", "adult"),
        ("Jugendlich 13-20", "13-20"),
        ("female", None),
        ("Latino_Hispanic", None),
        ("Middle Eastern", None),
        ("young woman", None),
        ("old white", None),
        ("person", None),
        ("over", None),
        ("tabby", None),
        ("", None),
        ("no one", None),
    ],
)
def test_of_a_label_only_the_age_is_kept(label: str, kept: str | None) -> None:
    group = years_of(label)
    assert (group and group.label) == kept
    if group is not None:
        assert (group.low, group.high) == parse_years(label)


def test_labels_of_the_same_years_are_one_group() -> None:
    model = Classifier(**{"male_20-29": 0.3, "male_30-39": 0.35, "female_20-29": 0.25, "female_30-39": 0.1})
    assert judged(model) == [[AgeGroup("20-29", 20, 29, pytest.approx(0.55))]]


def test_labels_of_gender_and_race_take_no_part() -> None:
    """One output of three heads, as FairFace has it: the ages are a softmax of their own."""
    ages = np.array([0.5, 2.0, 1.0])
    powers = np.exp(np.concatenate([[4.0, 1.0], [3.0, 0.0], ages]))
    names = ("White", "Black", "Male", "Female", "0-2", "20-29", "65+")
    model = Classifier(**dict(zip(names, powers / powers.sum(), strict=True)))
    expected = np.exp(2.0) / np.exp(ages).sum()
    assert judged(model) == [[AgeGroup("20-29", 20, 29, pytest.approx(expected, abs=1e-6))]]


def test_no_one_is_counted_among_the_ages_and_not_among_the_rest() -> None:
    model = Classifier(**{"female": 0.6, "no face": 0.25, "0-12": 0.15})
    assert judged(model) == [[]]


def test_a_real_graph_with_such_labels_and_outputs_says_ages_alone(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["ages"], axes=[2, 3], keepdims=0),
        helper.make_node("Neg", ["ages"], ["gender"]),
        helper.make_node("Neg", ["ages"], ["race"]),
    ]
    outputs = [(name, TensorProto.FLOAT, ["n", 3]) for name in ("gender", "race", "ages")]
    tiny_graphs.save(
        tmp_path / "m" / "model.onnx", nodes, [("pixels", TensorProto.FLOAT, ["n", 3, 8, 8])], outputs
    )
    manifest = {
        "labels": ["male_0-12", "female_13-20", "female_0-12"],
        "input": {"resize": {"height": 8, "width": 8}},
        "output": {"name": "ages", "activation": "none"},
    }
    (tmp_path / "m" / "manifest.json").write_text(json.dumps(manifest))
    with contextlib.closing(open_model(read_model(tmp_path / "m"), Device("cpu"))) as model:
        ((group,),) = judged(model, picture(102))
    assert (group.label, group.low_years, group.high_years) == ("0-12", 0, 12)
    assert group.confidence == pytest.approx(0.8)


def test_a_model_of_other_labels_is_refused_at_the_start_and_says_nothing_later() -> None:
    model = Classifier(male=0.9, female=0.1)
    with pytest.raises(UsageError, match=r"labels of fake say no ages: male, female"):
        judged(model)
    model.labels = ()  # one that does not tell them beforehand
    assert judged(model) == [None]


def test_confidences_stay_within_one() -> None:
    assert judged(Classifier(**{"male 5": 0.8, "female 5": 0.7})) == [[AgeGroup("5", 5, 5, 1.0)]]
    scale = read_scale(("female", "5"))
    years, confidence = scale.judge(np.zeros(2))
    assert (years and years.label, confidence) == ("5", 0.0)


# Years


@pytest.mark.parametrize(
    ("years", "options", "group"),
    [
        (31, {}, ("26-36", 26, 36)),
        (2, {}, ("0-7", 0, 7)),
        (40, {"half_width_years": 0}, ("40", 40, 40)),
        (31, {"groups": ["0-12", "13-30", "31+"]}, ("31+", 31, None)),
        (25, {"groups": ["under 18", "30-40"]}, ("30-40", 30, 40)),
        (20, {"groups": ["under 18", "30-40"]}, ("under 18", None, 17)),
        (250, {}, ("115-125", 115, 125)),
    ],
)
def test_a_number_of_years_is_an_interval(years: int, options: Any, group: tuple[Any, ...]) -> None:
    assert judged(Regressor(), picture(years), **options) == [[AgeGroup(*group, None)]]


# Faces


LEFT, RIGHT = Region(0.0, 0.0, 0.2, 0.4), Region(0.5, 0.25, 0.3, 0.6)


def two_faces() -> Rendition:
    """40 x 20 px: one of 8 x 8 px at the left edge, 10 years old; one of 12 x 12 px, 60."""
    one = picture(200)
    pixels = one.pixels.copy()
    pixels[0:8, 0:8], pixels[5:17, 20:32] = 10, 60
    return replace(one, pixels=pixels)


def test_each_face_is_judged_alone_the_largest_first() -> None:
    one = two_faces()
    detector = Detector(LEFT, RIGHT)
    pictures = [one, picture(1), one]
    results = judged(Regressor(), *pictures, detector=detector)
    assert results[0] == [AgeGroup("55-65", 55, 65, None, RIGHT), AgeGroup("5-15", 5, 15, None, LEFT)]
    assert results[2] == results[0]
    assert [group.label for group in results[1]] == ["0-6", "0-6"]
    assert detector.cuts == 6


def test_of_equal_faces_that_nearest_to_the_middle_is_first() -> None:
    edge, middle = Region(0.0, 0.0, 0.2, 0.4), Region(0.4, 0.3, 0.2, 0.4)
    ((first, second),) = judged(Regressor(), detector=Detector(edge, middle))
    assert (first.region, second.region) == (middle, edge)


def test_without_a_face_there_is_no_one_and_the_model_is_not_asked() -> None:
    model = Classifier(**{"0-12": 1.0})
    assert judged(model, picture(), picture(), detector=Detector()) == [[], []]
    assert model.seen == []


def test_what_is_no_face_from_near_is_none() -> None:
    detector = Detector(LEFT)
    detector.again = False
    assert judged(Regressor(), detector=detector) == [[]]
    assert len(judged(Regressor(), detector=detector, second_look=False)[0]) == 1
    assert detector.cuts == 1


def test_other_things_and_unsure_faces_are_left_out() -> None:
    assert judged(Regressor(), detector=Detector(LEFT, name="clock")) == [[]]
    assert judged(Regressor(), detector=Detector(LEFT, confidence=0.6), face_threshold=0.7) == [[]]
    assert len(judged(Regressor(), detector=Detector(LEFT, confidence=0.6))[0]) == 1


def test_a_face_that_is_not_judged_makes_the_picture_so_unless_another_is() -> None:
    unsure = Classifier(**{"0-12": 0.4, "65+": 0.3})
    assert judged(unsure, detector=Detector(LEFT), threshold=0.5) == [None]
    assert judged(Classifier(**{"0-12": 0.4, "none": 0.5}), detector=Detector(LEFT)) == [[]]


def test_a_cut_is_square_with_its_margin_and_black_beyond_the_edges() -> None:
    one = two_faces()
    inner = cut_face(one, RIGHT, 0.0)
    assert (inner.width_px, inner.height_px, set(inner.pixels.ravel())) == (12, 12, {60})
    wide = cut_face(one, LEFT, 0.5)
    assert wide.pixels.shape == (16, 16, 3)
    assert (wide.pixels[:4] == 0).all()
    assert (wide.pixels[:, :4] == 0).all()
    assert (wide.pixels[4:12, 4:12] == 10).all()
    assert (wide.pixels[12:, 4:] == 200).all()
    assert not wide.pixels.flags.writeable
    flat = cut_face(one, Region(0.5, 0.5, 0.1, 0.0), 0.0)
    assert flat.pixels.shape == (4, 4, 3)


@pytest.mark.parametrize(
    "region", [Region(0.99, 0.99, 0.01, 0.01), Region(0, 0, 1, 1), Region(0.5, 0.5, 0, 0)]
)
def test_a_cut_may_be_anywhere_and_of_any_size(region: Region) -> None:
    cut = cut_face(two_faces(), region, 2.0)
    assert cut.pixels.shape == (cut.height_px, cut.width_px, 3)
    assert cut.width_px == cut.height_px >= 1


def test_the_second_look_wants_the_same_face_and_not_another() -> None:
    class Elsewhere(Detector):
        def detect(self, renditions: Sequence[Rendition]) -> list[list[Detection]]:
            corner = [Detection("face", 0.9, Region(0.0, 0.0, 0.2, 0.2))]
            return [corner if one.width_px == one.height_px else self.found for one in renditions]

    assert find_faces(Elsewhere(RIGHT), [picture()]) == [[]]
    assert find_faces(Elsewhere(RIGHT), [picture()], looks_twice=False) == [[RIGHT]]


# Models that answer


def test_a_model_that_answers_is_asked_for_people_and_then_for_their_age() -> None:
    model = Talker()
    dark, grey, light = picture(0), picture(128), picture(255)
    said = age.enrich_age([dark, grey, light], context(model, deadline=12.5))
    assert said == [[], [AgeGroup("0-12", 0, 12, 0.7)], [AgeGroup("65+", 65, None, 0.7)]]
    (people, first, yes_no, _), (asked, second, groups, deadline) = model.asked
    assert (people, yes_no) == (3, ("Yes", "No"))
    assert (asked, groups, deadline) == (2, ("0-12", "13-20", "21-44", "45-64", "65+"), 12.5)
    assert "person" in first
    assert "0-12, 13-20" in second


def test_its_groups_may_be_others() -> None:
    assert judged(Talker(), picture(255), groups=["20s", "30-99"]) == [[AgeGroup("30-99", 30, 99, 0.7)]]


def test_of_a_face_it_is_not_asked_whether_there_is_a_person() -> None:
    model = Talker()
    assert judged(model, picture(255), detector=Detector(RIGHT)) == [[AgeGroup("65+", 65, None, 0.7, RIGHT)]]
    assert len(model.asked) == 1


def test_an_unsure_no_is_not_no_one() -> None:
    assert judged(Talker(), picture(0), threshold=0.95) == [None]
    assert judged(Talker(), picture(255), threshold=0.8) == [None]


def test_where_nobody_is_seen_no_age_is_asked() -> None:
    model = Talker()
    assert judged(model, picture(0)) == [[]]
    assert len(model.asked) == 1
    assert age.enrich_age([], context(model)) == []


@pytest.mark.parametrize("architecture", ["smolvlm", "qwen2_5_vl", "llava"])
def test_real_vision_language_models_can_say_a_group_and_nothing_else(
    architecture: str, tmp_path: Path
) -> None:
    """Of random weights, which would write anything else if they could."""
    with tarfile.open(REFERENCES / f"{architecture}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = next(tmp_path.rglob("config.json")).parent
    groups = ("0-12", "13-20", "21-44", "45-64", "65+")
    with contextlib.closing(open_model(read_model(folder), Device("cpu"))) as model:
        assert "enrich_age" in model.hooks
        pictures = [picture(level, 48, 32) for level in (20, 128, 230)]
        whole = judged(model, *pictures)
        faces = judged(model, *pictures, detector=Detector(RIGHT))
        alone = [judged(model, one, detector=Detector(RIGHT))[0] for one in pictures]
        prompt = model.answer_prompt("How old?", "en")
        written = model.generate(pictures, [prompt] * 3, Decoding(choices=groups))
    assert {one.text for one in written} <= {*groups}
    for result in whole:
        assert result == [] or (result[0].label in groups and result[0].region is None)
    for (group,), (same,) in zip(faces, alone, strict=True):
        assert group.label in groups
        assert (group.low_years, group.high_years) == parse_years(group.label)
        # Five of five shares make a whole, and the likeliest has the largest.
        assert 0.2 <= group.confidence <= 1
        assert (group.label, group.region) == (same.label, RIGHT)
        assert group.confidence == pytest.approx(same.confidence, abs=1e-4)


# What is refused


def test_a_model_that_can_do_none_of_it_is_refused() -> None:
    with pytest.raises(UsageError, match="model: fake judges no ages"):
        context(Fake())


def test_a_model_that_is_there_for_other_things_is_refused() -> None:
    model = Talker()
    model.hooks = ("enrich_caption", "enrich_answer")
    with pytest.raises(UsageError, match="model: fake does not judge ages, it serves caption, answer"):
        context(model)
    model.hooks = ("enrich_answer", "enrich_age")
    assert context(model).model is model


def test_a_detector_must_find_faces() -> None:
    detector = Detector()
    detector.labels = ("cat", "dog")
    with pytest.raises(UsageError, match="faces: fake finds no faces, for none of its labels is face"):
        context(Regressor(), detector)
    with pytest.raises(UsageError, match="it cannot detect"):
        context(Regressor(), Fake())


def test_groups_are_for_models_without_labels() -> None:
    with pytest.raises(UsageError, match="groups: fake has age groups of its own"):
        context(Classifier(**{"0-12": 1.0}), groups=["0-12", "13+"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"groups": ["male 20-29", "65+"]}, "'male 20-29' is no age group"),
        ({"groups": ["child", "65+"]}, "'child' is no age group"),
        ({"groups": ["0-12"]}, "two groups or more, each once"),
        ({"groups": ["0-12", "0-12"]}, "two groups or more, each once"),
        ({"half_width_years": -1}, "half_width_years"),
        ({"margin": 0.2}, "margin and face_threshold need faces"),
        ({"faces": ""}, "faces"),
        ({"margin": 3, "faces": "x"}, "margin"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=complaint):
        age.Options(**options)
