"""What models say before they come to the picture: "This image shows", "In the photo, we can see"."""

from __future__ import annotations

import re

__all__ = ["trim_opening"]

# Not what a picture may be besides: that it is a drawing is worth saying.
_PICTURE = r"(?:image|picture|photo|photograph|scene|snapshot)"
_SHOWS = r"(?:show|depict|display|feature|capture|portray|present|showcase|illustrate|contain)s?(?: that)?:?"
_MAYBE = r"(?:(?:clearly|vividly|prominently) |(?:appears|seems) to )?"
_OF = r"(?:of|showing|depicting)"
_SEEN = r"(?:(?:we|you|one) (?:can )?see|(?:is|are) (?:shown|visible))"

#: Each of them is only trimmed where the sentence starts with it.
_OPENINGS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:this|the) {_PICTURE} {_MAYBE}{_SHOWS}\s+",
        rf"(?:this|it|the {_PICTURE}) (?:is|appears to be) (?:a|an|the) {_PICTURE} {_OF}\s+",
        rf"(?:this|the) {_PICTURE} is of\s+",
        rf"in (?:this|the) {_PICTURE},?\s+{_SEEN}\s+",
        rf"in (?:this|the) {_PICTURE},\s+",
        rf"(?:a|an) {_PICTURE} {_OF}\s+",
        r"(?:we|you) can see\s+",
        # French, Spanish, Chinese: whose next word needs no other form.
        r"(?:cette|l')\s*(?:image|photo) (?:montre|représente)\s+",
        r"(?:esta|la) (?:imagen|foto|fotografía) (?:muestra|representa)\s+",
        r"(?:这|這)(?:张|張|幅)(?:图片|图像|照片|圖片|圖像|图|圖)(?:中)?(?:显示|展示|描绘|顯示|描繪)(?:了|的是)?[，,：:]?\s*",
    )
)


def trim_opening(text: str) -> str:
    """Return a text without such a beginning, its first letter large where it was; else as it is."""
    for opening in _OPENINGS:
        match = opening.match(text)
        rest = text[match.end() :].lstrip() if match else ""
        # Of nothing but the beginning, nothing would be left.
        if any(character.isalnum() for character in rest):
            return rest[0].upper() + rest[1:] if text[0].isupper() else rest
    return text
