"""The candidates: one student, made into files for each runtime and precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtefactError, QuantizationError
from pipeline.files import whole_folder, write_json
from pipeline.hashing import hash_file
from pipeline.params import Candidate
from pipeline.progress import Track, silent
from pipeline.quantize import onnxruntime, openvino

_RUNTIMES = {"onnxruntime": onnxruntime, "openvino": openvino}


@dataclass(frozen=True)
class MadeCandidate:
    """A candidate on disk; paths are relative to the folder of all candidates.

    Attributes:
        name: Name of the candidate and of its folder.
        runtime: Inference runtime.
        precision: Type of the weights.
        batch: ``dynamic``, or 1.
        runtime_version: Version of the runtime that was here when it was made.
        model: The file that the runtime opens.
        files: SHA-256 of every file.
        bytes: Size of all files.
    """

    name: str
    runtime: Literal["onnxruntime", "openvino"]
    precision: Literal["fp32", "fp16", "int8"]
    batch: Literal["dynamic", 1]
    runtime_version: str
    model: str
    files: dict[str, str]
    bytes: int


@dataclass(frozen=True)
class CandidateSet:
    """What ``candidates.json`` says.

    Attributes:
        candidates: In the order in which they were described.
        reference: Name of the fp32 student that the others are held to.
    """

    candidates: tuple[MadeCandidate, ...]
    reference: str


def make_candidates(
    exported: Mapping[Literal["dynamic", 1], Path],
    candidates: Sequence[Candidate],
    calibration: NDArray[np.uint8],
    folder: Path,
    track: Track = silent,
) -> CandidateSet:
    """Makes every candidate from the exported student. The same input gives the same bytes.

    Args:
        exported: The fp32 ONNX files by batch, as ``export_onnx`` writes them.
        candidates: What to make.
        calibration: Training images that set the ranges of the int8 candidates, uint8
            [n, height, width, 3] RGB, of the model's size.
        folder: Replaced as a whole: ``candidates.json`` and a folder a candidate.
        track: Shows progress.

    Raises:
        ArtefactError: An exported file is missing or damaged.
        QuantizationError: The calibration images cannot be used, or there is no reference.
    """
    reference = next(
        (c.name for c in candidates if (c.runtime, c.precision) == ("onnxruntime", "fp32")), None
    )
    if reference is None:
        raise QuantizationError(
            "quantize.candidates",
            "holds no onnxruntime fp32 student to hold the others to",
            "add one",
        )
    for candidate in candidates:
        _check(candidate, exported, calibration)
    with whole_folder(folder) as temporary:
        made = CandidateSet(
            tuple(
                _make(candidate, exported[candidate.batch], calibration, temporary)
                for candidate in track(candidates, "making candidates", len(candidates))
            ),
            reference,
        )
        write_json(temporary / "candidates.json", asdict(made))
    return made


def _make(
    candidate: Candidate, source: Path, calibration: NDArray[np.uint8], folder: Path
) -> MadeCandidate:
    place = folder / candidate.name
    place.mkdir()
    model = _RUNTIMES[candidate.runtime].make_model(candidate, source, calibration, place)
    files = sorted(place.iterdir())
    return MadeCandidate(
        name=candidate.name,
        runtime=candidate.runtime,
        precision=candidate.precision,
        batch=candidate.batch,
        runtime_version=metadata.version(candidate.runtime),
        model=model.relative_to(folder).as_posix(),
        files={file.relative_to(folder).as_posix(): hash_file(file) for file in files},
        bytes=sum(file.stat().st_size for file in files),
    )


def _check(
    candidate: Candidate,
    exported: Mapping[Literal["dynamic", 1], Path],
    calibration: NDArray[np.uint8],
) -> None:
    if candidate.batch not in exported:
        raise QuantizationError(
            candidate.name,
            f"needs the student exported with batch {candidate.batch}",
            f"exported are: {', '.join(str(batch) for batch in exported)}",
        )
    height, width = _image_size(exported[candidate.batch])
    if candidate.precision != "int8" or candidate.method != "static":
        return
    if len(calibration) == 0:
        raise QuantizationError(
            candidate.name, "there are no calibration images", "int8 takes its ranges from them"
        )
    if calibration.dtype != np.uint8 or calibration.shape[1:] != (height, width, 3):
        raise QuantizationError(
            candidate.name,
            f"the calibration images are {calibration.dtype} {list(calibration.shape[1:])}, "
            f"the model takes uint8 {[height, width, 3]}",
            "prepare the images at the size that the student was exported for",
        )


def _image_size(path: Path) -> tuple[int, int]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        images = onnx.load(path).graph.input[0]
    except FileNotFoundError:
        raise ArtefactError(path, "is missing") from None
    except (DecodeError, IndexError):
        raise ArtefactError(path, "is truncated or not ONNX") from None
    _, height, width, _ = (d.dim_value for d in images.type.tensor_type.shape.dim)
    return height, width
