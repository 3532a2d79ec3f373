"""Decoded images, as the parameters of a project ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.data.decoding import DecodedImages, decode
from pipeline.data.sources import Sample
from pipeline.params import Params
from stages.console import track


def decode_images(params: Params, samples: Sequence[Sample], folder: Path) -> DecodedImages:
    """Decodes images for the networks of a project; ``folder`` keeps what is done."""
    size, *other_sizes = params.image_sizes
    return decode(
        samples,
        folder,
        image_size=size,
        fit=params.prepare.fit,
        channels=params.prepare.channels,
        other_sizes=other_sizes,
        workers=params.prepare.workers,
        track=track,
    )
