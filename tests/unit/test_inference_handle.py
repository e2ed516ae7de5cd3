import numpy as np
import pytest
import tiny_duals
import tiny_graphs

from enrich.errors import UsageError
from enrich.inference import Models, ModelStore
from enrich.types import ModelHandle, Rendition

GREY = Rendition(None, None, 0, np.full((8, 8, 3), 128, np.uint8), 8, 8, 8, 8)


@pytest.fixture
def models(tmp_path):
    tiny_graphs.write_model(tmp_path / "colours", revision="7")
    tiny_duals.write_dual(tmp_path / "clip", revision="8", languages=["en", "de"])
    models = Models(ModelStore(tmp_path), "cpu", threads=1)
    yield models
    models.close()


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        (
            "colours",
            lambda model: model.embed([GREY]),
            "colours cannot embed: .*classifier, which can score labels;",
        ),
        ("colours", lambda model: model.caption_prompt(None, None), "colours cannot write captions"),
        ("clip", lambda model: model.answer_prompt("Why?", "en"), "clip cannot answer questions"),
        (
            "clip",
            lambda model: model.generate([GREY], [""]),
            "clip cannot write: .*dual-encoder, which can score labels and embed;",
        ),
        (
            "colours",
            lambda model: model.predict([GREY], ["red"]),
            "colours is a classifier with 3 labels of its own",
        ),
    ],
)
def test_what_a_family_cannot_do_is_said_with_what_it_can(models, name, call, message):
    with pytest.raises(UsageError, match=message) as caught:
        call(models.open(name))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_every_model_says_what_it_is(models):
    colours, clip = (models.open(name) for name in ("colours", "clip"))

    assert (colours.name, colours.revision, colours.family) == ("colours", "7", "classifier")
    assert (clip.name, clip.revision, clip.family) == ("clip", "8", "dual-encoder")
    assert (colours.languages, clip.languages) == ((), ("en", "de"))
    assert clip.hooks == ("enrich_tag", "enrich_embed")


def test_pictures_outside_the_domain_are_refused_in_every_family(tmp_path):
    tiny_duals.write_dual(tmp_path / "clip", domain={"flat_share_min": 0.5})
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    models = Models(ModelStore(tmp_path), "cpu", threads=1)

    refusals = models.open("clip").refusals([Rendition(None, None, 0, noise, 64, 64, 64, 64), GREY])
    models.close()

    assert refusals == ["outside_domain", None]


def test_a_model_is_what_plugins_are_promised(models):
    handle: ModelHandle = models.open("clip")

    promised = {name for name in vars(ModelHandle) if not name.startswith("_")}
    assert {name for name in promised if not hasattr(handle, name)} == set()
    assert len(promised) >= 8
