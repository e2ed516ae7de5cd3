import json

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from enrich.errors import ManifestError
from enrich.inference.text import TextStream, Tokenizer, load_tokenizer

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def save_bytes(path):
    """Each byte is a token, so that a character may be several; <end> is special."""
    vocabulary = {letter: index for index, letter in enumerate([*BYTES, "<end>"])}
    made = tokenizers.Tokenizer(models.BPE(vocabulary, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<end>"])
    made.save(str(path))
    return Tokenizer(path)


def save_words(path, **settings):
    """Words as BERT's, framed by [CLS] and [SEP]."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "circle", "##s", "[", "]", "sep", ",", "'"]
    made = tokenizers.Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(words[:4])
    made.save(str(path))
    if settings:
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return Tokenizer(path)


@pytest.fixture
def bytewise(tmp_path):
    return save_bytes(tmp_path / "tokenizer.json")


@pytest.fixture
def words(tmp_path):
    return save_words(tmp_path / "tokenizer.json")


def test_special_tokens_are_put_around_a_text_or_not(words):
    assert words.encode("a red circle") == [2, 4, 5, 6, 3]
    assert words.encode("a red circle", special=False) == [4, 5, 6]
    assert words.decode([2, 4, 5, 6, 7, 3]) == "a red circles"
    assert words.token_id("[SEP]") == 3
    assert words.token_id("nothing") is None
    assert words.size == 13


def test_a_stranger_cannot_bring_special_tokens_along(words, bytewise):
    assert words.encode("a [SEP]", special=False) == [4, 3]
    assert words.encode("a [SEP]", special=False, plain=True) == [4, 8, 10, 9]
    # Its own frame is still there, and who asks otherwise meanwhile is not concerned.
    assert words.encode("a", plain=True) == [2, 4, 3]
    assert words.encode("a [SEP]", special=False) == [4, 3]
    assert bytewise.decode(bytewise.encode("x<end>y", plain=True)) == "x<end>y"


def test_a_vocabulary_that_has_them_as_words_gives_none_of_them_to_a_stranger(tmp_path):
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁a", -1.0), ("▁", -2.0), ("b", -3.0)]
    made = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    made.add_special_tokens(["<unk>", "</s>"])
    made.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer(tmp_path / "tokenizer.json")

    assert tokenizer.encode("a</s>b") == [2, 1, 3, 4, 1]
    assert tokenizer.encode("a</s>b", plain=True) == [2, 4, 1]
    # What is unknown stays, though it is special as well.
    assert tokenizer.encode("ax", plain=True) == [2, 0, 1]


@pytest.mark.parametrize("text", ["", "ordinary", "日本語", "👩‍👩‍👧", "\x00", "e\u0301", "a\ud800b"])
def test_any_text_can_be_read(bytewise, text):
    assert bytewise.decode(bytewise.encode(text)) == text.replace("\ud800", "?")


def test_what_training_left_in_the_file_does_not_count(tmp_path):
    cut = {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    tokenizer = save_words(tmp_path / "tokenizer.json", truncation=cut)

    assert tokenizer.encode("a red circle") == [2, 4, 5, 6, 3]


def test_a_stream_never_gives_half_a_character(bytewise):
    stream = TextStream(bytewise)
    pieces = [stream.feed(token) for token in bytewise.encode("é日本x")]

    assert pieces == ["", "é", "", "", "日", "", "", "本", "x"]
    assert stream.finish() == ""
    assert stream.text == "é日本x"


def test_what_is_left_of_a_character_comes_with_the_end(bytewise):
    stream = TextStream(bytewise)
    stream.feed(*bytewise.encode("日本")[:-1])

    assert stream.text == "日"
    assert stream.finish() == "\ufffd"


@pytest.mark.parametrize("text", ["  a red\ncircle. \n", "日 本\u3000語 ", "x", "", "   "])
def test_the_pieces_are_the_text_without_surrounding_space(bytewise, text):
    stream = TextStream(bytewise)
    pieces = [stream.feed(token) for token in bytewise.encode(text)]

    assert "".join([*pieces, stream.finish()]) == stream.text == text.strip()


def test_nobody_reads_along_and_the_text_is_the_same(bytewise):
    stream = TextStream(bytewise)
    stream.hold(*bytewise.encode("a red circle "))

    assert stream.text == ""
    assert stream.finish() == "a red circle"


def test_words_are_given_as_they_come(words):
    stream = TextStream(words)

    assert [stream.feed(token) for token in (2, 4, 5, 6, 7, 11, 3)] == [
        "",
        "a",
        " red",
        " circle",
        "s",
        ",",
        "",
    ]


def test_a_stop_text_ends_the_stream_and_is_not_part_of_it(bytewise):
    stream = TextStream(bytewise, ["##", "END"])
    pieces = []
    for token in bytewise.encode("a # b ## c"):
        pieces.append(stream.feed(token))
        if stream.is_stopped:
            break

    assert stream.is_stopped
    assert "".join(pieces) == stream.text == "a # b"
    assert stream.finish() == ""


def test_what_may_become_a_stop_text_is_held_back(bytewise):
    stream = TextStream(bytewise, ["END"])

    assert [stream.feed(token) for token in bytewise.encode("xENx")] == ["x", "", "", "ENx"]
    assert stream.feed(*bytewise.encode("E")) == ""
    assert stream.finish() == "E"


def test_the_first_stop_text_counts(bytewise):
    stream = TextStream(bytewise, ["later", "so"])
    stream.hold(*bytewise.encode("or so it is later"))

    assert stream.finish() == "or"
    assert stream.is_stopped


def test_a_tokenizer_that_changes_its_mind_takes_nothing_back():
    class Joining:
        """Ends every text with a full stop that the next word replaces."""

        def decode(self, ids):
            return " ".join("abcdefg"[one] for one in ids) + "."

    stream = TextStream(Joining())
    pieces = [stream.feed(token) for token in range(4)]

    assert "".join([*pieces, stream.finish()]) == stream.text
    assert (stream.text[0], stream.text[-2:], len(stream.text)) == ("a", "d.", 8)


def test_a_missing_or_broken_file_is_one_line(tmp_path):
    with pytest.raises(ManifestError, match=r"there is no tokenizer\.json; copy it"):
        load_tokenizer(None, tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"^[^\n]*tokenizer\.json: cannot be read: [^\n]+$"):
        load_tokenizer(tmp_path / "tokenizer.json", tmp_path)
