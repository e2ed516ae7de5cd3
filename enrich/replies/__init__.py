"""What a model's reply in words comes to as a typed value; None where it cannot be read, never a guess."""

from enrich.replies.lists import read_list
from enrich.replies.objects import read_object
from enrich.replies.openings import trim_opening
from enrich.replies.reading import choices_of, read_reply
from enrich.replies.together import budget_together, read_together, request_together
from enrich.replies.words import same_words

__all__ = [
    "budget_together",
    "choices_of",
    "read_list",
    "read_object",
    "read_reply",
    "read_together",
    "request_together",
    "same_words",
    "trim_opening",
]
