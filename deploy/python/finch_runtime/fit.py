"""How an image gets the shape of the input."""

from __future__ import annotations

FITS = ("crop", "stretch", "pad")

PAD_FILL = 114
"""Value of the bars of ``pad`` in each channel, as in the detectors of the YOLO family."""
