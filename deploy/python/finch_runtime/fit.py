"""How an image becomes a square: its center is cropped, or each side is scaled separately."""

from __future__ import annotations

FITS = ("crop", "stretch")
