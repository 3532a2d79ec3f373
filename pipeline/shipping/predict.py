"""Classifies images with a bundle on this machine, as a device would."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from finch_runtime.bundle import Bundle, open_source
from finch_runtime.cli import top_labels
from finch_runtime.errors import RuntimeProblem
from finch_runtime.images import SuffixWarning, load_image
from finch_runtime.photos import find_photos, open_photo
from finch_runtime.protocol import ModelSource
from finch_runtime.session import Session

from pipeline.errors import FinchError
from pipeline.shipping.bundle import unpack_bundle


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image.

    Attributes:
        image: Name as it was passed, or path in a folder that was passed.
        top: ``label`` and ``probability`` of each class, most probable first; empty if the image
            cannot be read.
        problem: Why it cannot be read, or a remark on it; empty if there is none.
    """

    image: str
    top: list[dict[str, Any]]
    problem: str = ""


def find_bundle(place: Path) -> Path:
    """The unpacked bundle or archive that a path means: one of these, or a project's folder.

    Raises:
        FinchError: There is none, or more than one.
    """
    if place.is_file() or (place / "labels.txt").is_file():
        return place
    archives = [*place.glob("*.tar.gz"), *place.glob("dist/*.tar.gz")]
    if len(archives) == 1:
        return archives[0]
    problem = f"has {len(archives)} bundles" if archives else "has no bundle"
    remedy = "pass an unpacked bundle, its .tar.gz, or a project's folder after `finch bundle`"
    raise FinchError(place, problem, remedy)


def predict(
    bundle: Path, images: Sequence[str], top: int, threads: int | None = None
) -> Iterator[Prediction]:
    """Classifies images one at a time with the device runtime.

    Args:
        bundle: Unpacked bundle, or archive.
        images: Image files, folders of images, or ``-`` for an image on standard input.
        top: Classes per image.
        threads: Threads of an inference; None: as the bundle was measured.

    Raises:
        ArtifactError: The archive is damaged.
        FinchError: The bundle is damaged, or its runtime is not installed.
    """
    with _unpacked(bundle) as folder:
        try:
            session, opened = open_source(ModelSource(str(folder)), threads)
        except RuntimeProblem as problem:
            raise FinchError(problem.thing, problem.problem, problem.remedy) from None
        assert opened is not None
        for name in find_photos(images):
            yield _predict_one(session, opened, name, top)


@contextmanager
def _unpacked(bundle: Path) -> Iterator[Path]:
    if bundle.is_dir():
        yield bundle
        return
    with tempfile.TemporaryDirectory() as folder:
        yield unpack_bundle(bundle, Path(folder))


def _predict_one(session: Session, bundle: Bundle, name: str, top: int) -> Prediction:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SuffixWarning)
        try:
            image = load_image(open_photo(name), bundle.size, bundle.fit, bundle.channels)
        except RuntimeProblem as problem:
            return Prediction(name, [], str(problem))
    remarks = [str(each.message) for each in caught if issubclass(each.category, SuffixWarning)]
    _, probabilities = session.run(image[np.newaxis])
    return Prediction(name, top_labels(probabilities[0], bundle.labels, top), "; ".join(remarks))
