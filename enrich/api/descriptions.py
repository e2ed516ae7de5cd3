"""Whether a prompt asks for nothing but a description: then a model is asked for a caption, in its own way.

Small models know their own words for it best, and large ones are none the worse for them.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

__all__ = ["Described", "read_description"]

_PICTURE = (
    r"(?:(?:this|the|an?|my|attached|following|given) )*(?:image|picture|photo(?:graph)?|drawing|scene|pic)"
)
_FORMS = {
    "en": (
        rf"(?:please )?(?:describe|caption|explain|summari[sz]e) {_PICTURE}"
        r"(?: (?:in detail|briefly|for me))?",
        r"(?:please )?(?:describe|caption) (?:this|it)(?: (?:in detail|briefly))?",
        rf"(?:please )?describe what (?:you see|is (?:shown )?in {_PICTURE})",
        rf"what(?:'s| is|’s) (?:(?:shown|there|depicted) )?(?:in|on) {_PICTURE}",
        rf"what (?:does|do) {_PICTURE} show",
        rf"what (?:do|can) you see(?: (?:here|in {_PICTURE}))?",
        r"what(?:'s| is|’s) in this",
        rf"(?:please )?(?:write|give|generate|create|provide)(?: me)? an? (?:short |detailed |brief )?"
        rf"(?:caption|description)(?: (?:of|for) {_PICTURE})?",
        r"image caption|caption",
    ),
    "de": (
        r"(?:bitte )?beschreibe?(?:n sie)? (?:bitte )?(?:das|dieses|mein) (?:bild|foto)",
        r"was (?:ist|sieht man|siehst du|sehen sie) (?:hier )?(?:auf|in) (?:dem|diesem) (?:bild|foto)"
        r"(?: zu sehen)?",
        r"was zeigt (?:das|dieses) (?:bild|foto)|was siehst du(?: hier)?",
    ),
    "fr": (
        r"d[ée]cri(?:s|vez|re)(?:-moi)? (?:cette|l['’]|la|ma) ?(?:image|photo)",
        r"qu['’](?:est-ce qu['’]il y a|y a-t-il) (?:dans|sur) (?:cette|l['’]|la) ?(?:image|photo)",
        r"que (?:vois-tu|voyez-vous|montre (?:cette|l['’]|la) ?(?:image|photo))",
    ),
    "es": (
        r"(?:por favor,? )?describ(?:e|a|ir) (?:esta|la|mi) (?:imagen|foto(?:graf[ií]a)?)",
        r"qu[ée] (?:hay|se ve|ves|aparece|muestra) (?:en )?(?:esta|la) (?:imagen|foto(?:graf[ií]a)?)",
        r"qu[ée] ves",
    ),
    "zh": (
        r"请?(?:详细)?描述(?:一下)?(?:这|该)?(?:张|幅|个)?(?:图片?|照片|图像)(?:的?内容)?",
        r"(?:这|该)?(?:张|幅|个)?(?:图片?|照片|图像)(?:里|中|上)(?:面)?有什么|你看到了?什么",
    ),
    "ja": (
        r"この(?:画像|写真|絵)を?(?:詳しく)?(?:説明|描写)して(?:ください)?",
        r"この(?:画像|写真|絵)(?:に|には)?何が(?:写って|映って|見え|描かれて)(?:い)?ま(?:すか|す)",
    ),
    "ko": (
        r"(?:이|그) ?(?:이미지|사진|그림)[을를]? ?(?:자세히 )?(?:설명|묘사)해 ?(?:줘|주세요|주십시오)?",
        r"(?:이|그) ?(?:이미지|사진|그림)에 ?(?:무엇이|뭐가) ?(?:있나요|있습니까|보이나요|있어)",
    ),
}
_COMPILED = {
    language: re.compile("|".join(f"(?:{form})" for form in forms), re.IGNORECASE)
    for language, forms in _FORMS.items()
}
_LONG = re.compile("detail|详细|詳しく|자세히", re.IGNORECASE)
_SHORT = re.compile("brief|short", re.IGNORECASE)
_LONGEST = 100


class Described(NamedTuple):
    """In which language a description is asked for, and how long it is to be."""

    language: str
    length: Literal["short", "normal", "long"]


def read_description(prompt: str) -> Described | None:
    """Return what a prompt says that asks for a description and for nothing else; else None."""
    if len(prompt) > _LONGEST:
        return None
    words = " ".join(prompt.split()).strip(" .!?¿¡。！？:")
    for language, form in _COMPILED.items():
        if form.fullmatch(words):
            return Described(
                language, "long" if _LONG.search(words) else "short" if _SHORT.search(words) else "normal"
            )
    return None
