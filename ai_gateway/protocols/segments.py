"""Names of models as parts of a path.

A caller makes the name up, and it goes into the request line that a provider is sent: what is not quoted could end that
line and begin another request, with the operator's credential.
"""

from __future__ import annotations

from urllib.parse import quote

from ai_gateway.bodies import MAX_MODEL
from ai_gateway.errors import ModelNotFound

SAFE = ":@!$,~"
"""Signs that stay as they are in a segment."""


def path_segment(value: str, safe: str = SAFE) -> str:
    """Quote a name so that it is one segment of a path. Raises ModelNotFound if it cannot be."""
    if not value or value in (".", "..") or len(value) > MAX_MODEL:
        raise ModelNotFound(f"{value[:80]!r} is not a model name.", param="model")
    try:
        return quote(value, safe=safe)
    except UnicodeEncodeError:
        raise ModelNotFound("The model name is not valid Unicode.", param="model") from None


def path_segments(value: str) -> str:
    """Quote a name that may have several segments: "tunedModels/mine". Raises ModelNotFound if one of them is none."""
    if "/" not in value:
        return path_segment(value)
    return "/".join(map(path_segment, value.split("/")))
