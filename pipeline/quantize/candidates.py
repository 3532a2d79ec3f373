"""Makes the candidates: the student as files for several runtimes and precisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError, QuantizationError
from pipeline.files import atomic_folder, hash_file, write_json
from pipeline.params import Candidate
from pipeline.plugins import RUNTIMES
from pipeline.progress import Track, silent
from pipeline.quantize.mixed_precision import (
    MixedPrecisionSearch,
    SearchSetup,
    search_mixed_precision,
)
from pipeline.quantize.runtimes.base import CandidateRuntime
from pipeline.quantize.sources import Sources

FilesByBatch = Mapping[Literal["dynamic", 1], Path]


@dataclass(frozen=True)
class MadeCandidate:
    """A candidate on disk; paths are relative to the folder of all candidates.

    Attributes:
        name: Name of the candidate and of its folder.
        runtime, precision, batch: As in ``Candidate``.
        runtime_version: Version of the runtime's package when it was made.
        model: The file that the runtime loads.
        files: SHA-256 of each file.
        bytes: Total size of the files.
        options: Method and options of int8; empty for other precisions.
        float_layers: Names of the layers that mixed precision keeps in float.
    """

    name: str
    runtime: str
    precision: Literal["fp32", "fp16", "int8"]
    batch: Literal["dynamic", 1]
    runtime_version: str
    model: str
    files: dict[str, str]
    bytes: int
    options: dict[str, object]
    float_layers: tuple[str, ...]


@dataclass(frozen=True)
class CandidateSet:
    """Content of ``candidates.json``.

    Attributes:
        candidates: In the order of ``quantize.candidates``, each followed by its mixed variant.
        reference: Name of the fp32 student that the others are compared with.
        mixed_precision: One search for each static int8 candidate whose accuracy drop is too large.
        made_from: Their sources; None for a student that was not trained, as in ``finch scout``.
    """

    candidates: tuple[MadeCandidate, ...]
    reference: str
    mixed_precision: tuple[MixedPrecisionSearch, ...]
    made_from: Sources | None = None


def make_candidates(
    exported: FilesByBatch,
    candidates: Sequence[Candidate],
    calibration: NDArray[np.uint8],
    folder: Path,
    track: Track = silent,
    *,
    search: SearchSetup | None = None,
    qat: FilesByBatch = MappingProxyType({}),
    made_from: Sources | None = None,
) -> CandidateSet:
    """Makes all candidates from the exported student. The same input gives the same bytes.

    Args:
        exported: The fp32 ONNX files of ``export_onnx``, by batch.
        candidates: What to make.
        calibration: Training images for static int8, uint8 [n, height, width, channels], of the
            model's size.
        folder: Replaced by ``candidates.json`` and one folder per candidate.
        track: Progress display.
        search: Settings of the mixed-precision search; None disables it.
        qat: The QDQ files of ``export_qdq``, by batch, for method ``qat``.
        made_from: Hashes of all these inputs, to be recorded.

    Raises:
        ArtifactError: An exported file is missing or damaged.
        QuantizationError: The calibration images do not fit, there is no reference, a batch size
            was not exported, or a runtime cannot run the student.
    """
    reference = next((c.name for c in candidates if c.is_reference), None)
    if reference is None:
        raise QuantizationError("quantize.candidates", "has no onnxruntime fp32 student", "add one")
    sources = [_source(c, qat if c.method == "qat" else exported, calibration) for c in candidates]
    made: list[MadeCandidate] = []
    searches: list[MixedPrecisionSearch] = []
    with atomic_folder(folder) as temporary:
        tracked = track(candidates, "making candidates", len(candidates))
        for candidate, source in zip(tracked, sources, strict=True):
            new, found = _make(candidate, source, calibration, temporary, search, track)
            made += new
            searches += [found] if found else []
        result = CandidateSet(tuple(made), reference, tuple(searches), made_from)
        write_json(temporary / "candidates.json", asdict(result))
    return result


def _make(
    candidate: Candidate,
    source: Path,
    calibration: NDArray[np.uint8],
    folder: Path,
    search: SearchSetup | None,
    track: Track,
) -> tuple[list[MadeCandidate], MixedPrecisionSearch | None]:
    """Makes a candidate and, if its accuracy drop is too large, a mixed-precision one."""
    runtime: CandidateRuntime = RUNTIMES[candidate.runtime]()
    target = folder / candidate.name
    target.mkdir()
    if not candidate.supports_mixed_precision or not (search and search.params.enabled):
        model = runtime.make(candidate, source, calibration, target)
        return [_describe(candidate, model)], None
    with runtime.open_variants(candidate, source, calibration) as variants:
        model = variants.write(target)
        made = [_describe(candidate, model)]
        found = search_mixed_precision(candidate, variants, model, search, folder, track)
    if found and found.mixed:
        model = folder / found.mixed / model.name
        made.append(_describe(candidate, model, *found.steps[-1].float_layers))
    return made, found


def _describe(candidate: Candidate, model: Path, *float_layers: str) -> MadeCandidate:
    folder, files = model.parent, sorted(model.parent.iterdir())
    options = {"method": candidate.method, **dict(sorted(candidate.options))}
    return MadeCandidate(
        name=folder.name,
        runtime=candidate.runtime,
        precision=candidate.precision,
        batch=candidate.batch,
        runtime_version=metadata.version(RUNTIMES[candidate.runtime].package),
        model=f"{folder.name}/{model.name}",
        files={f"{folder.name}/{file.name}": hash_file(file) for file in files},
        bytes=sum(file.stat().st_size for file in files),
        options=options if candidate.precision == "int8" else {},
        float_layers=float_layers,
    )


def _source(candidate: Candidate, files: FilesByBatch, calibration: NDArray[np.uint8]) -> Path:
    """The ONNX file to make a candidate from, checked before anything is made."""
    if candidate.batch not in files:
        raise QuantizationError(
            candidate.name,
            f"needs the student exported with batch {candidate.batch}",
            f"exported batch sizes: {', '.join(str(batch) for batch in files)}",
        )
    source = files[candidate.batch]
    expected, given = _image_shape(source), list(calibration.shape[1:])
    if not candidate.is_static_int8:
        return source
    if len(calibration) == 0:
        problem = "there are no calibration images for static int8"
        raise QuantizationError(candidate.name, problem, "set quantize.calibration_images")
    if calibration.dtype != np.uint8 or given != expected:
        raise QuantizationError(
            candidate.name,
            f"calibration images are {calibration.dtype} {given}, the model takes uint8 {expected}",
            "prepare the images at the size that the student was exported for",
        )
    return source


def _image_shape(path: Path) -> list[int]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        images = onnx.load(path).graph.input[0]
    except FileNotFoundError:
        raise ArtifactError(path, "is missing") from None
    except (DecodeError, IndexError):
        raise ArtifactError(path, "is truncated or not ONNX") from None
    return [dimension.dim_value for dimension in images.type.tensor_type.shape.dim[1:]]
