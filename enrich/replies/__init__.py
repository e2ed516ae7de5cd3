"""What a model's reply in words comes to as a typed value; None where it cannot be read, never a guess."""

from enrich.replies.reading import read_reply
from enrich.replies.words import same_words

__all__ = ["read_reply", "same_words"]
