"""Whatever models and files hand out fits SQL afterwards, and paths come back as they were."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich.catalog.clean import clean_json, clean_text, escape_path, path_digest, unescape_path

#: Names as Linux has them: any bytes but NUL and the separator.
names = st.binary(min_size=1, max_size=20).map(lambda raw: raw.replace(b"\0", b"_").replace(b"/", b"\\"))
paths = st.lists(names.filter(lambda name: name not in (b".", b"..")), min_size=1, max_size=4).map(
    lambda parts: os.fsdecode(b"/" + b"/".join(parts))
)

#: All characters, the lone surrogates too.
any_text = st.text(st.characters(exclude_categories=()))
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(any_text | st.integers(), inner),
    max_leaves=10,
)


@given(paths)
def test_any_path_comes_back_from_its_escaped_form(path: str) -> None:
    escaped = escape_path(path)
    escaped.encode("utf-8")  # no surrogate is left
    assert os.fsencode(unescape_path(escaped)) == os.fsencode(path)


@given(paths, paths)
def test_different_paths_stay_different(one: str, other: str) -> None:
    assert (escape_path(one) == escape_path(other)) == (one == other)
    assert (path_digest(one) == path_digest(other)) == (one == other)


@given(paths)
def test_a_folders_escaped_form_begins_that_of_its_files(path: str) -> None:
    folder, _, name = path.rpartition("/")
    assert escape_path(path) == f"{escape_path(folder)}/{escape_path(name)}"


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        (b"/a/b.jpg", "/a/b.jpg"),
        ("/Bücher/夏.jpg".encode(), "/Bücher/夏.jpg"),
        (b"/caf\xe9.jpg", "/caf\\xe9.jpg"),
        (b"/caf\\xe9.jpg", "/caf\\\\xe9.jpg"),
        (b"/a\nb", "/a\nb"),
    ],
)
def test_escaped_paths_read_well(raw: bytes, escaped: str) -> None:
    assert escape_path(Path(os.fsdecode(raw))) == escaped


def test_a_digest_is_of_the_bytes() -> None:
    assert path_digest(os.fsdecode(b"/\xff")) == (
        "ce4db70e8ac268d1711ce53fb3a1493dc5c2281b6141bdd0036b8076a7fdbbb2"
    )


def fits_sql(value: Any) -> bool:
    """Whether PostgreSQL's JSONB takes a value."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, dict):
        return all(type(key) is str and fits_sql(key) and fits_sql(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(fits_sql, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int))


@given(documents)
def test_cleaned_json_fits_sql(document: Any) -> None:
    cleaned = clean_json(document)
    assert fits_sql(cleaned)
    assert json.loads(json.dumps(cleaned, allow_nan=False)) == cleaned


@given(documents)
def test_cleaning_twice_changes_nothing(document: Any) -> None:
    cleaned = clean_json(document)
    assert clean_json(cleaned) == cleaned


@given(documents.filter(fits_sql))
def test_what_fits_already_is_left_alone(document: Any) -> None:
    assert clean_json(document) == document


@given(any_text)
def test_cleaned_text_fits_sql_and_keeps_its_length(text: str) -> None:
    cleaned = clean_text(text)
    assert fits_sql(cleaned)
    assert len(cleaned) == len(text)
    assert all(new in (old, "\ufffd") for new, old in zip(cleaned, text, strict=True))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, math.inf]], np.float32), [[1.0, None]]),
        (b"\x00\xff", "00ff"),
        (bytearray(b"a"), "61"),
        ((1, {2}), [1, [2]]),
        ({1: "a", None: "b\0"}, {"1": "a", "None": "b\ufffd"}),
        (Path("/a"), "/a"),
        (np.str_("a"), "a"),
    ],
)
def test_what_json_does_not_know_becomes_what_it_does(value: Any, expected: Any) -> None:
    cleaned = clean_json(value)
    assert cleaned == expected
    assert fits_sql(cleaned)
