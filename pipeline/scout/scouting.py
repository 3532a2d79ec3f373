"""Measures every network at every image size, once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.code_fingerprint import code_fingerprint
from pipeline.errors import ArtifactError
from pipeline.files import hash_value, read_json, write_json
from pipeline.measure.host import describe_host
from pipeline.models.zoo import full_name
from pipeline.plugins import RUNTIMES
from pipeline.progress import Track, silent
from pipeline.scout import measuring
from pipeline.scout.measuring import ScoutSetup, Student, measure_student

_FORMAT = 1
# Their versions can change a network, or its exported files.
_LIBRARIES = ("timm", "torch", "torchvision", "onnxscript", "nncf")


def key_of(model: str, height: int, setup: ScoutSetup) -> str:
    """Hash of everything that affects a measurement, except the pixels of the images."""
    scout, size = setup.scout, setup.images.size_at(height)
    runtimes = sorted({candidate.runtime for candidate in setup.measured})
    return hash_value(
        [
            _FORMAT,
            [model, size, setup.images.channels, setup.images.classes, setup.opset],
            [candidate.model_dump() for candidate in setup.measured],
            [scout.rounds, scout.runs, scout.warmup, setup.threads],
            asdict(describe_host()),
            {name: metadata.version(name) for name in _LIBRARIES},
            code_fingerprint(measuring.__name__, *(RUNTIMES[name] for name in runtimes)),
        ]
    )


def read_student(path: Path) -> Student | None:
    """A student that was measured before; None if there is no file.

    Raises:
        ArtifactError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        return TypeAdapter(Student).validate_python(read_json(path))
    except ValidationError:
        raise ArtifactError(path, "is not a measured student", "delete it and run again") from None


def scout_students(
    setup: ScoutSetup,
    folder: Path,
    *,
    track: Track = silent,
    on_measured: Callable[[Student], None] = lambda student: None,
) -> list[Student]:
    """Measures every network at every image size, unless ``folder`` contains its measurement.

    A student that could not be measured is not stored, so the next run tries it again.
    ``on_measured`` is called with each student.

    Raises:
        ParameterError: A name of a network is unknown; nothing is measured then.
    """
    models = [full_name(model) for model in setup.scout.models]
    pairs = list(itertools.product(models, setup.scout.image_sizes))
    students = []
    for model, height in track(pairs, "scouting", len(pairs)):
        path = folder / f"{key_of(model, height, setup)}.json"
        student = read_student(path)
        if student is None:
            student = measure_student(model, height, setup)
            if student.problem is None:
                write_json(path, asdict(student))
        on_measured(student)
        students.append(student)
    return students
