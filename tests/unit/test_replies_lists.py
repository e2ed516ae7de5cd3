"""Lists of keywords, and what models say before they come to the picture."""

import pytest

from enrich.replies import read_list, trim_opening


@pytest.mark.parametrize(
    ("reply", "things"),
    [
        ("cat, dog, red ball", ["cat", "dog", "red ball"]),
        ("1. cat\n2. dog\n3) grass", ["cat", "dog", "grass"]),
        ("- **cat**\n- dog", ["cat", "dog"]),
        ("Keywords: cat, dog, and grass.", ["cat", "dog", "grass"]),
        ('["cat", "dog"]', ["cat", "dog"]),
        ("cat; dog; Cat; the cat", ["cat", "dog"]),
        ("猫、犬、草", ["猫", "犬", "草"]),
        ("1,000 people, crowd", ["1,000 people", "crowd"]),
        ("The picture shows a very nice cat on a mat, dog", ["dog"]),
        ('```json\n["cat", "dog"]\n```', ["cat", "dog"]),
        ("#cat #dog", ["cat", "dog"]),
        ("• cat • dog", ["cat", "dog"]),
        ("cat (black), dog", ["cat (black)", "dog"]),
        ("None.", []),
        ("N/A", []),
        ("", []),
        (" ,. ", []),
    ],
)
def test_things_are_listed_in_many_ways(reply: str, things: list[str]) -> None:
    assert read_list(reply) == things


def test_half_a_word_at_the_end_is_left_out() -> None:
    assert read_list("cat, dog, gra", is_cut=True) == ["cat", "dog"]
    assert read_list("cat", is_cut=True) == ["cat"]


@pytest.mark.parametrize(
    ("text", "trimmed"),
    [
        ("This image shows a dog.", "A dog."),
        ("The picture depicts two cats on a sofa.", "Two cats on a sofa."),
        ("In this image, we can see a dog.", "A dog."),
        ("The picture shows: a dog", "A dog"),
        ("In the photo, there are two boats.", "There are two boats."),
        ("A photo of a dog.", "A dog."),
        ("The image is a photo of a dog", "A dog"),
        ("the image shows a dog", "a dog"),
        ("The scene appears to show that it rains.", "It rains."),
        ("Cette image montre une rue.", "Une rue."),
        ("La imagen muestra un perro.", "Un perro."),
        ("这张图片显示了一只狗。", "一只狗。"),
    ],
)
def test_a_beginning_that_says_nothing_is_trimmed(text: str, trimmed: str) -> None:
    assert trim_opening(text) == trimmed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The image.",
        "This image shows.",
        "A dog looks at a man. This image shows a dog.",
        "A drawing of a fox.",
        "The picture frame hangs askew.",
        "Image shows",
        "There is a dog.",
    ],
)
def test_anything_else_stays(text: str) -> None:
    assert trim_opening(text) == text
