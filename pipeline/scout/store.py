"""What was measured so far, so that a scout that was ended goes on from there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import ArtefactError
from pipeline.files import hash_value, read_json, write_json
from pipeline.measure.host import describe_host
from pipeline.scout.measuring import ScoutSetup, Student

_FORMAT = 1
# They decide what a network is, and what it becomes as a file.
_MAKERS = ("timm", "torch", "torchvision", "onnxscript", "nncf")


@dataclass(frozen=True)
class StudentStore:
    """Measured students, a file each."""

    folder: Path

    def read(self, key: str) -> Student | None:
        """A student that was measured; None if it was not.

        Raises:
            ArtefactError: Its file is damaged.
        """
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            return TypeAdapter(Student).validate_python(read_json(path))
        except ValidationError:
            raise ArtefactError(path, "is no measured student", "delete it, run again") from None

    def keep(self, key: str, student: Student) -> None:
        """Writes a student down, whole."""
        write_json(self._path(key), asdict(student))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def key_of(model: str, image_size: int, bench: ScoutSetup) -> str:
    """Names a measurement: the same for two only if all that bears on latency is the same.

    That is the network, what is made of it and by which libraries, how it is timed, and the
    machine; what is in the pictures is not.
    """
    scout = bench.scout
    return hash_value(
        [
            _FORMAT,
            [model, image_size, bench.photographs.classes, bench.opset],
            [candidate.model_dump() for candidate in bench.candidates],
            [scout.rounds, scout.runs, scout.warmup, bench.threads],
            asdict(describe_host()),
            {name: metadata.version(name) for name in _MAKERS},
        ]
    )
