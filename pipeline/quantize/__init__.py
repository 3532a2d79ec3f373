"""The candidates: one student, made into files for each runtime and precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtefactError, QuantizationError
from pipeline.files import hash_file, whole_folder, write_json
from pipeline.params import Candidate, MixedPrecision
from pipeline.progress import Track, silent
from pipeline.quantize import onnxruntime, openvino
from pipeline.quantize.mixed_precision import MixedPrecisionSearch, search_mixed_precision
from pipeline.quantize.validation import CandidateValidator

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
        options: By which int8 was made; empty for other precisions.
        in_float: Of int8, names of the layers that were left in float because of what they cost.
    """

    name: str
    runtime: Literal["onnxruntime", "openvino"]
    precision: Literal["fp32", "fp16", "int8"]
    batch: Literal["dynamic", 1]
    runtime_version: str
    model: str
    files: dict[str, str]
    bytes: int
    options: dict[str, object]
    in_float: tuple[str, ...]


@dataclass(frozen=True)
class CandidateSet:
    """What ``candidates.json`` says.

    Attributes:
        candidates: In the order in which they were described, each before what was made of it.
        reference: Name of the fp32 student that the others are held to.
        ladders: What was tried for each static int8 candidate that loses too much.
    """

    candidates: tuple[MadeCandidate, ...]
    reference: str
    ladders: tuple[MixedPrecisionSearch, ...]


def make_candidates(
    exported: Mapping[Literal["dynamic", 1], Path],
    candidates: Sequence[Candidate],
    calibration: NDArray[np.uint8],
    folder: Path,
    track: Track = silent,
    *,
    judge: CandidateValidator | None = None,
    ladder: MixedPrecision | None = None,
    recovered: Mapping[Literal["dynamic", 1], Path] = MappingProxyType({}),
) -> CandidateSet:
    """Makes every candidate from the exported student. The same input gives the same bytes.

    Args:
        exported: The fp32 ONNX files by batch, as ``export_onnx`` writes them.
        candidates: What to make.
        calibration: Training images that set the ranges of the int8 candidates, uint8
            [n, height, width, 3] RGB, of the model's size.
        folder: Replaced as a whole: ``candidates.json`` and a folder a candidate.
        track: Shows progress.
        judge: Tells on validation images what an int8 candidate loses.
        ladder: What to try when that is too much; nothing where there is no judge.
        recovered: The QDQ files by batch, as ``export_qdq`` writes them, for method ``aware``.

    Raises:
        ArtefactError: An exported file is missing or damaged.
        QuantizationError: The calibration images cannot be used, there is no reference, or a
            runtime cannot run the student.
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

    def sources(candidate: Candidate) -> Mapping[Literal["dynamic", 1], Path]:
        return recovered if candidate.method == "qat" else exported

    for candidate in candidates:
        _check(candidate, sources(candidate), calibration, judge)
    maker = _Maker(calibration, judge, ladder if judge is not None else None, track)
    with whole_folder(folder) as temporary:
        for candidate in track(candidates, "making candidates", len(candidates)):
            maker.make(candidate, sources(candidate)[candidate.batch], temporary)
        made = CandidateSet(tuple(maker.made), reference, tuple(maker.climbs))
        write_json(temporary / "candidates.json", asdict(made))
    return made


class _Maker:
    """Makes one candidate after the other, and what the ladder adds to it."""

    def __init__(
        self,
        calibration: NDArray[np.uint8],
        judge: CandidateValidator | None,
        ladder: MixedPrecision | None,
        track: Track,
    ) -> None:
        self._calibration = calibration
        self._judge = judge
        self._ladder = ladder
        self._track = track
        self.made: list[MadeCandidate] = []
        self.climbs: list[MixedPrecisionSearch] = []

    def make(self, candidate: Candidate, source: Path, folder: Path) -> None:
        place = folder / candidate.name
        place.mkdir()
        if candidate.accuracy_control:
            assert self._judge is not None  # _check
            model, in_float = openvino.make_controlled(
                candidate, source, self._calibration, place, self._judge
            )
            self.made.append(_describe(candidate, model, in_float))
        elif candidate.can_be_mixed and self._ladder is not None and self._ladder.mixed:
            self._make_mixed(candidate, source, folder, self._ladder)
        else:
            runtime = _RUNTIMES[candidate.runtime]
            model = runtime.make_model(candidate, source, self._calibration, place)
            self.made.append(_describe(candidate, model))

    def _make_mixed(
        self, candidate: Candidate, source: Path, folder: Path, ladder: MixedPrecision
    ) -> None:
        judge = self._judge
        assert judge is not None
        runtime = _RUNTIMES[candidate.runtime]
        with runtime.open_variants(candidate, source, self._calibration) as variants:
            model = variants.write(folder / candidate.name)
            self.made.append(_describe(candidate, model))
            drop = judge.drop(judge.logits(model, candidate.runtime))
            if judge.accepts(drop):
                return
            result = search_mixed_precision(
                candidate, variants, drop, judge, ladder, folder, self._track
            )
        self.climbs.append(result)
        if result.mixed is not None:
            model = folder / result.mixed / model.name
            self.made.append(_describe(candidate, model, result.rungs[-1].in_float))


def _describe(candidate: Candidate, model: Path, in_float: tuple[str, ...] = ()) -> MadeCandidate:
    place = model.parent
    files = sorted(place.iterdir())
    return MadeCandidate(
        name=place.name,
        runtime=candidate.runtime,
        precision=candidate.precision,
        batch=candidate.batch,
        runtime_version=metadata.version(candidate.runtime),
        model=f"{place.name}/{model.name}",
        files={f"{place.name}/{file.name}": hash_file(file) for file in files},
        bytes=sum(file.stat().st_size for file in files),
        options=candidate.options,
        in_float=in_float,
    )


def _check(
    candidate: Candidate,
    exported: Mapping[Literal["dynamic", 1], Path],
    calibration: NDArray[np.uint8],
    judge: CandidateValidator | None,
) -> None:
    if candidate.accuracy_control and judge is None:
        raise QuantizationError(
            candidate.name, "accuracy control needs validation images", "give a judge"
        )
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
