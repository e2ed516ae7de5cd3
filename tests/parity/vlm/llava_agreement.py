"""LLaVA and LLaVA-NeXT say what their references do; the tests of both import these.

Each gets ``reference``, a fixture of the module that collects them.
"""

from parity.vlm.agreement import Reference
from parity.vlm.llava_cases import STEPS


def test_conversations_become_the_same_prompts(reference: Reference) -> None:
    assert reference.prompts() == reference.expected("prompts")


def test_a_thousand_conversations_become_the_same_prompts(reference: Reference) -> None:
    reference.check_conversations()
    reference.check_logits()


def test_the_same_tokens_are_written(reference: Reference) -> None:
    expected = reference.expected("greedy")
    assert reference.said(STEPS) == expected
    assert {len(row) for row in expected} == {STEPS}
    assert len({token for row in expected for token in row}) > 10, "it says too little to prove much"


def test_the_same_tokens_are_written_alone(reference: Reference) -> None:
    assert reference.said(STEPS, is_alone=True) == reference.expected("greedy_alone")


def test_the_same_tokens_are_written_in_beams(reference: Reference) -> None:
    assert reference.said(STEPS, beams=4) == reference.expected("beams4")
