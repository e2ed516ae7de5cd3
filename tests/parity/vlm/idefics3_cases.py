"""What the tiny Idefics3 and SmolVLM are asked; for the recording side and for the tests."""

from __future__ import annotations

__all__ = ["CONVERSATIONS", "STEPS", "Content"]

STEPS = 32

#: A picture by its place among ``odd_pictures``, or words.
Content = int | str

#: Roles with their contents: one picture, a large one after the words, three, one some turns ago, five.
CONVERSATIONS: tuple[tuple[tuple[str, tuple[Content, ...]], ...], ...] = (
    (("user", (15, "Describe this picture.")),),
    (("user", ("How many people are in this one?", 18)),),
    (("user", (6, 17, 3, "Which of them is the largest, and which is a strip?")),),
    (
        ("user", (8, "What is this?")),
        ("assistant", ("A strip.",)),
        ("user", ("What colour is it?",)),
    ),
    (
        ("system", ("Answer in one word.",)),
        ("user", ("First:", 0, "second:", 16, 5, 9, "last:", 14, "are they alike?")),
    ),
)
