"""Augmented versions of one image, as data sets are exported with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pipeline.data.sources.base import Sample

# Roboflow: the versions of IMG_1.jpg are IMG_1_jpg.rf.<hash>.jpg.
_VERSION = re.compile(r"(?P<image>.+)\.rf\.[0-9A-Za-z]{16,}(?:\.\w+)?")


def group_versions(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, with the versions of one image in one group.

    Versions are recognized by their names. A sample that has a group keeps it.
    """
    return [
        replace(sample, group=match["image"])
        if sample.group is None and (match := _VERSION.fullmatch(sample.name))
        else sample
        for sample in samples
    ]
