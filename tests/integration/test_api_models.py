"""The service over real models: requests share batches with each other and with folder steps."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from served import ALICE, Place, place

from enrich import app
from enrich.api.errors import Cancelled, InvalidParameter
from enrich.api.requests import Ask, Chat, Picture, Turn
from enrich.api.service import Service
from enrich.drawings.samples import draw_samples
from enrich.inference import Models
from enrich.settings import Step
from enrich.types import Decoding

MODEL = "drawings-vlm"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    draw_samples(folder)
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Iterator[tuple[Place, Service, Models]]:
    with place(tmp_path, default_model=MODEL) as made:
        models = app.open_models(made.settings)
        store = app.open_store(made.settings)
        try:
            yield made, Service(made.settings, made.host, models, store, made.pictures, made.kept), models
        finally:
            models.close()


def shown(made: Place, *paths: Path) -> tuple[Picture, ...]:
    received = made.pictures.receive(ALICE).__enter__()
    return tuple(received.chunks([path.read_bytes()], path.name) for path in paths)


def test_lengths_differ_and_are_asked_in_the_models_way(here: Any, samples: Path) -> None:
    made, service, models = here
    pictures = shown(made, samples / "banner.jpg")
    replies = [service.answer(Ask("caption", pictures, length=length)) for length in ("normal", "long")]
    assert replies[0].text != replies[1].text
    assert all(reply.model == MODEL and reply.completion_tokens > 0 for reply in replies)
    model = models.open(MODEL)
    rendition = pictures[0].rendition
    (written,) = model.generate([rendition], [model.caption_prompt("long", "en")])
    assert replies[1].text == written.text


def test_an_age_group_comes_with_its_confidence(here: Any, samples: Path) -> None:
    made, service, _ = here
    reply = service.answer(Ask("age", shown(made, samples / "child.jpg")))
    assert reply.model == "drawings-age"
    assert reply.data["ageGroup"] in {"0-12", "13-20", "21-44", "45-64", "65+", None}
    assert reply.text is None


def test_a_photograph_is_refused_by_a_model_of_drawings(here: Any, tmp_path: Path) -> None:
    import numpy as np
    import PIL.Image

    made, service, _ = here
    noise = np.random.default_rng(1).integers(0, 255, (300, 300, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "noise.png")
    with pytest.raises(InvalidParameter, match="does not know pictures of this kind"):
        service.answer(Ask("caption", shown(made, tmp_path / "noise.png")))


def test_requests_and_folder_steps_share_batches(here: Any, samples: Path) -> None:
    made, service, models = here
    pictures = shown(made, *sorted(samples.iterdir()))
    alone = [service.answer(Ask("caption", (one,), length="long", language=None)).text for one in pictures]
    model: Any = models.open(MODEL)
    before = model.writer_stats.runs
    step = made.host.bind(
        "folder", Step.model_validate({"plugin": "caption", "model": MODEL, "length": "long"}), models.open
    )
    with ThreadPoolExecutor(len(pictures) + 1) as threads:
        folder = threads.submit(
            made.host.describe, step, [one.rendition for one in pictures], [()] * len(pictures)
        )
        futures = [threads.submit(service.answer, Ask("caption", (one,), length="long")) for one in pictures]
        together = [future.result().text for future in futures]
        described = [outcome[0].text for outcome in folder.result() if isinstance(outcome, list)]
    after = model.writer_stats.runs
    merged = {rows: count - before.get(rows, 0) for rows, count in after.items() if rows > 1}
    assert sum(merged.values()) > 0
    assert together == alone == described


def test_who_goes_away_leaves_the_models_batch(here: Any, samples: Path) -> None:
    made, service, models = here
    pictures = shown(made, samples / "banner.jpg")
    cancel = threading.Event()
    pieces: list[str] = []

    def told(piece: str) -> None:
        pieces.append(piece)
        cancel.set()

    chat = Chat(
        (Turn("user", "Describe the picture in detail.", pictures),), decoding=Decoding(max_tokens=200)
    )
    whole = service.chat(chat)
    with pytest.raises(Cancelled):
        service.chat(chat, told, cancel)
    assert len("".join(pieces)) < len(whole.text or "")
    model: Any = models.open(MODEL)
    assert model.writer_stats.waiting == 0
    streamed: list[str] = []
    assert service.chat(chat, streamed.append).text == whole.text == "".join(streamed)
