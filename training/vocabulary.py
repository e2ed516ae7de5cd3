"""The tokenizer of drawings-vlm and drawings-clip: byte-level BPE, trained on the words of drawn scenes."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from enrich.drawings.wording import lexical_units

__all__ = ["END", "PAD", "START", "make_tokenizer"]

PAD, START, END = "<pad>", "<start>", "<end>"
_SIZE = 1200


def make_tokenizer(path: Path, *, with_ends: bool = False) -> Tokenizer:
    """Train the tokenizer and write tokenizer.json; ``with_ends`` frames texts by start and end.

    It is trained on words, not on sentences, so that no token reaches over two of them; all bytes are
    in it, so that any text can be read.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_SIZE,
        # CLIP takes an end token of number 2 for a mistake of old configurations, and pools elsewhere.
        special_tokens=[PAD, END, START] if with_ends else [PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Twice: a word of one language only still is more than a coincidence.
    tokenizer.train_from_iterator([*lexical_units()] * 2, trainer)
    if with_ends:
        ids = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{START} $A {END}", special_tokens=ids
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return tokenizer
