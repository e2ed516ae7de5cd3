"""From bytes to identity, embedded metadata and oriented sRGB pixels, safely."""

from enrich.rendition.budget import DecodeBudget
from enrich.rendition.decode import Frame, Picture, open_picture
from enrich.rendition.facts import PictureFacts, Probe, probe
from enrich.rendition.formats import is_picture, named_like_picture, sniff
from enrich.rendition.structure import Opener

__all__ = [
    "DecodeBudget",
    "Frame",
    "Opener",
    "Picture",
    "PictureFacts",
    "Probe",
    "is_picture",
    "named_like_picture",
    "open_picture",
    "probe",
    "sniff",
]
