"""Prompts with pictures in them: read, joined though of different lengths, and written on."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_decoder
import tiny_graphs
import tiny_joint
from onnx import TensorProto, helper
from tiny_joint import IMAGE, greedy, logits_after

from enrich.errors import InferenceError, ManifestError
from enrich.inference.devices import Device
from enrich.inference.generator import Generator
from enrich.inference.joint_decoder import JointDecoder, Scene
from enrich.inference.session import Session
from enrich.inference.writing import Ending, Request
from enrich.types import Decoding

CPU = Device("cpu")


def scene(*shown, length, ahead=0, axes=1):
    features = tuple(np.array([[value, 0] for value in one], np.float32) for one in shown)
    positions = np.arange(length)
    return Scene(features, positions if axes == 1 else np.tile(positions, (axes, 1)), ahead)


def read(decoder, ids, *shown, **options):
    return decoder.prefill(np.array([ids]), [scene(*shown, length=len(ids), **options)])


@pytest.fixture
def generator(tmp_path):
    made = []

    def open_generator(**options):
        decoder = tiny_joint.open_decoder(tmp_path, **options)
        made.append(Generator(decoder, tiny_decoder.open_tokenizer(tmp_path), Ending(()), name="tiny"))
        return made[-1]

    yield open_generator
    for one in made:
        one.close()


def test_features_stand_where_the_image_tokens_are(tmp_path):
    decoder = tiny_joint.open_decoder(tmp_path)
    logits, cache = read(decoder, [3, IMAGE, IMAGE, 5, IMAGE], [10, 20], [40])
    assert np.array_equal(logits[0], logits_after(4 + 10 + 20 + 6 + 40, 4))
    logits, cache = decoder.step([7], cache)
    assert np.array_equal(logits[0], logits_after(80 + 8, 5))
    logits, _ = decoder.step([1], cache)
    assert np.array_equal(logits[0], logits_after(88 + 2, 6))


def test_later_positions_run_ahead(tmp_path):
    decoder = tiny_joint.open_decoder(tmp_path, axes=3)
    logits, cache = read(decoder, [3, 4], ahead=-5, axes=3)
    assert np.array_equal(logits[0], logits_after(4 + 5, 3 * 1))
    logits, _ = decoder.step([7], cache)
    assert np.array_equal(logits[0], logits_after(9 + 8, 3 * (2 - 5)))


def test_rows_of_different_lengths_run_together(tmp_path):
    decoder = tiny_joint.open_decoder(tmp_path)
    assert decoder.pads
    _, short = read(decoder, [3, IMAGE], [10])
    _, long = read(decoder, [1, 2, 3, 4, 5], ahead=2)
    assert short.kind == long.kind
    together = decoder.join([short, long])
    logits, after = decoder.step([6, 7], together)
    assert np.array_equal(logits, [logits_after(14 + 7, 2), logits_after(20 + 8, 5 + 2)])

    # Alone again: what was padding is gone.
    alone = decoder.take(after, [0])
    assert (alone.length, alone.pads) == (3, (0,))
    logits, _ = decoder.step([2], alone)
    assert np.array_equal(logits[0], logits_after(21 + 3, 3))

    # Twice and in another order.
    logits, _ = decoder.step([2, 2, 2], decoder.take(after, [1, 0, 1]))
    assert np.array_equal(logits, [logits_after(31, 8), logits_after(24, 3), logits_after(31, 8)])


def test_a_graph_that_does_not_heed_the_mask_gets_rows_of_one_length(tmp_path):
    for options in ({"counts_places": True}, {"has_positions": False}):
        decoder = tiny_joint.open_decoder(tmp_path, **options)
        assert not decoder.pads
        _, short = read(decoder, [3, 4])
        _, long = read(decoder, [3, 4, 5])
        assert short.kind != long.kind
        assert short.kind == decoder.join([short, short]).kind


@pytest.mark.parametrize("options", [{}, {"counts_places": True}])
def test_what_is_written_does_not_depend_on_the_others(generator, options):
    writer = generator(**options)
    rng = np.random.default_rng(2)
    prompts = [
        [*rng.integers(0, 8, int(rng.integers(1, 30))).tolist(), *[IMAGE] * int(rng.integers(0, 9))]
        for _ in range(24)
    ]
    shown = [rng.integers(0, 50, one.count(IMAGE)).tolist() for one in prompts]
    requests = [
        Request(
            tuple(ids), scene(*[some] if some else [], length=len(ids)), 12, Decoding(beams=1 + index % 3)
        )
        for index, (ids, some) in enumerate(zip(prompts, shown, strict=True))
    ]
    alone = [writer.run([one])[0] for one in requests]
    assert writer.run(requests) == alone
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(lambda one: writer.run([one])[0], requests)) == alone
    if not options:
        words = [greedy(ids, some, 12) for ids, some in zip(prompts, shown, strict=True)]
        expected = [" ".join(f"w{token}" for token in made) for made in words]
        assert [one.text for one in alone][::3] == expected[::3]
        assert max(writer.stats.runs) > 8, "rows of different lengths ran together"


class Counting(Session):
    """Remembers how many rows and tokens each run had."""

    runs: tuple[tuple[int, int], ...] = ()

    def run_bound(self, feeds, outputs, kept):
        self.runs = (*self.runs, feeds["inputs_embeds"].shape[:2])
        return super().run_bound(feeds, outputs, kept)


def opened_and_counted(folder, **options):
    """Open a decoder and forget the runs in which it was tried."""
    decoder = tiny_joint.open_decoder(folder, kind=Counting, **options)
    session = decoder._graph._session
    session.runs = ()
    return decoder, session


@pytest.mark.parametrize("axes", [1, 3])
def test_long_prompts_are_read_one_by_one_in_stretches(tmp_path, axes):
    decoder, session = opened_and_counted(tmp_path, axes=axes)
    ids = np.tile(np.arange(1500) % 8, (3, 1))
    shown = [[index] for index in range(3)]
    ids[:, 700] = IMAGE
    logits, cache = decoder.prefill(ids, [scene(one, length=1500, axes=axes, ahead=2) for one in shown])
    assert decoder.continues
    assert session.runs == ((1, 512), (1, 512), (1, 476)) * 3
    total = int(ids[0].sum()) + 1500 - (IMAGE + 1)
    assert np.array_equal(logits, [logits_after(total + one, axes * 1499) for (one,) in shown])
    logits, _ = decoder.step([7] * 3, cache)
    assert np.array_equal(logits, [logits_after(total + one + 8, axes * 1502) for (one,) in shown])


def test_short_prompts_are_read_together(tmp_path):
    decoder, session = opened_and_counted(tmp_path)
    decoder.prefill(np.ones((5, 200), np.int64), [scene(length=200)] * 5)
    assert session.runs == ((2, 200), (2, 200), (1, 200))


def test_stretches_are_shorter_where_each_token_has_logits_of_its_own(tmp_path):
    # 4 MiB for each token, of which 64 MiB are allowed.
    decoder, session = opened_and_counted(tmp_path, words=2**20)
    ids = np.arange(40)[None] % 8
    logits, _ = decoder.prefill(ids, [scene(length=40)])
    assert session.runs == ((1, 16), (1, 16), (1, 8))
    assert np.array_equal(logits[0, : tiny_decoder.WORDS], logits_after(int(ids.sum()) + 40, 39))


@pytest.mark.parametrize("bakes", ["Slice", "Add"])
def test_a_graph_that_goes_on_with_single_tokens_only_reads_prompts_at_once(tmp_path, bakes):
    decoder, session = opened_and_counted(tmp_path, bakes=bakes)
    assert not decoder.continues
    assert decoder.pads
    ids = np.tile(np.arange(1500) % 8, (2, 1))
    logits, cache = decoder.prefill(ids, [scene(length=1500)] * 2)
    assert session.runs == ((1, 1500),) * 2
    total = int(ids[0].sum()) + 1500
    assert np.array_equal(logits[0], logits_after(total, 1499))
    logits, _ = decoder.step([3, 4], cache)
    assert np.array_equal(logits, [logits_after(total + 4, 1500), logits_after(total + 5, 1500)])


def test_as_many_logits_as_are_wanted_are_asked_for(tmp_path):
    logits, _ = read(tiny_joint.open_decoder(tmp_path, keeps=True), [3, 4])
    assert np.array_equal(logits[0], logits_after(9, 1))


@pytest.mark.parametrize("shown", [[[10]], [[10, 20, 30]], []])
def test_features_that_do_not_fit_are_refused(tmp_path, shown):
    with pytest.raises(InferenceError, match="has 2 places of 2 numbers for pictures, and its pictures have"):
        read(tiny_joint.open_decoder(tmp_path), [3, IMAGE, IMAGE], *shown)


def test_features_of_another_width_are_refused(tmp_path):
    wide = Scene((np.zeros((1, 3), np.float32),), np.arange(1), 0)
    with pytest.raises(InferenceError, match="of 2 numbers for pictures, and its pictures have 1 of 3"):
        tiny_joint.open_decoder(tmp_path).prefill(np.array([[IMAGE]]), [wide])


def test_other_graphs_are_refused(tmp_path):
    embed = Session(tiny_joint.save_embedding(tmp_path / "embed.onnx"), CPU, threads=1)
    decoder = Session(tiny_joint.save_decoder(tmp_path / "decoder.onnx"), CPU, threads=1)
    of_states = tiny_decoder.save_merged(tmp_path / "merged.onnx")
    with pytest.raises(ManifestError, match="is no decoder of a vision-language model"):
        JointDecoder(embed, Session(of_states, CPU, threads=1), image_token_id=IMAGE)
    with pytest.raises(ManifestError, match="is no decoder of a vision-language model"):
        JointDecoder(embed, embed, image_token_id=IMAGE)
    with pytest.raises(ManifestError, match="must take input_ids and give inputs_embeds"):
        JointDecoder(decoder, decoder, image_token_id=IMAGE)


def test_a_past_of_unknown_size_is_refused(tmp_path):
    shape = ["b", "heads", "p", 2]
    path = tiny_graphs.save(
        tmp_path / "odd.onnx",
        [helper.make_node("Identity", ["past_key_values.0.key"], ["present.0.key"])],
        [("past_key_values.0.key", TensorProto.FLOAT, shape)],
        [("present.0.key", TensorProto.FLOAT, shape)],
    )
    embed = Session(tiny_joint.save_embedding(tmp_path / "embed.onnx"), CPU, threads=1)
    with pytest.raises(ManifestError, match=r"must be of \(batch, heads, past, width\), heads"):
        JointDecoder(embed, Session(path, CPU, threads=1), image_token_id=IMAGE)
