"""What the tiny LLaVA and LLaVA-NeXT are asked; for the recording side and for the tests."""

from __future__ import annotations

from parity.vlm.conversations import Conversation

__all__ = ["CONVERSATIONS", "STEPS"]

STEPS = 32

#: One picture; a large one after the words; three; one some turns ago; one, with a word from the system.
CONVERSATIONS: tuple[Conversation, ...] = (
    [("user", [15, "Describe this picture."])],
    [("user", ["How many people are in this one?", 18])],
    [("user", [6, 17, 3, "Which of them is the largest, and which is a strip?"])],
    [
        ("user", [8, "What is this?"]),
        ("assistant", ["A strip."]),
        ("user", ["What colour is it?"]),
    ],
    [("system", ["Answer in one word."]), ("user", [0, 13, "Are they alike?"])],
)
