"""A picture is encoded once, however many questions are asked of it, and by however many steps."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from enrich import app
from enrich.drawings.scenes import draw_scene
from enrich.host import Host
from enrich.inference import Models
from enrich.settings import Settings, Step
from enrich.types import Rendition

QUESTIONS = {
    "background": "What colour is the background?",
    "viele": {"ask": "Wie viele Formen sind zu sehen?", "type": "number", "lang": "de"},
    "aka": {"ask": "赤い図形はありますか？", "type": "boolean", "lang": "ja"},
    "own": "Is {file_name} a circle?",
}


@pytest.fixture
def models() -> Iterator[Models]:
    models = app.open_models(Settings())
    yield models
    models.close()


@pytest.fixture(scope="module")
def host() -> Host:
    return app.load_plugins(Settings(), bundled_only=True)


def scenes(count: int) -> list[Rendition]:
    drawn = [np.asarray(draw_scene(random.Random(seed), 120)[0]) for seed in range(count)]
    return [Rendition(None, None, 0, pixels, 120, 120, 120, 120) for pixels in drawn]


def test_by_all_questions_and_captions(host: Host, models: Models) -> None:
    def ask(plugin: str, renditions: list[Rendition], **options: Any) -> list[Any]:
        step = host.bind("step", Step(plugin=plugin, model="drawings-vlm", **options), models.open)
        return host.describe(step, renditions, [()] * len(renditions))

    pictures = scenes(5)
    answers = ask("answer", pictures, questions=QUESTIONS)
    assert [[draft.item for draft in each] for each in answers] == [list(QUESTIONS)] * 5
    model = models.open("drawings-vlm")
    assert model.stats.items == 5
    ask("caption", pictures, length="long", lang="fr")
    ask("caption", pictures, prompt="Is it {file_name}?", beams=3)
    assert model.stats.items == 5
    ask("caption", scenes(1))
    assert model.stats.items == 6, "a picture that is read anew is encoded anew"
