"""The artifacts that a bundle is made from, of a linear classifier, without training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.prepared import PreparedData
from pipeline.files import hash_file, read_json, write_json
from pipeline.measure.evaluation import Evaluation, read_evaluation
from pipeline.measure.runtime import DeviceRuntime
from pipeline.models.record import FORMAT
from pipeline.quantize.candidates import CandidateSet, MadeCandidate
from pipeline.quantize.sources import Sources
from pipeline.shipping.bundle import BundleSpec
from pipeline.shipping.inputs import BundleInputs, read_inputs
from pipeline.shipping.manifest import Chosen
from tests.pipeline.measure.linear_model import CLASSES, SIZE, write_model
from tests.prepared_data import write_prepared
from tests.small_project import PROJECT

LABELS = tuple("abc")
STUDENT = "57" * 32
RECORDING = read_evaluation(PROJECT / "tests/recordings/epyc_vnni.json")


@dataclass
class Chain:
    """A folder with the artifacts of one run."""

    root: Path
    data: PreparedData
    runtime: Path = PROJECT / "deploy/python"

    @property
    def evaluated(self) -> Path:
        return self.root / "reports/evaluations/local.json"

    @property
    def listed(self) -> Path:
        return self.root / "models/candidates/candidates.json"

    def read(self) -> BundleInputs:
        return read_inputs(
            read_evaluation(self.evaluated),
            evaluated=self.evaluated,
            prepared=self.root / "data/prepared",
            student=self.root / "models/student",
            exported=self.root / "models/onnx/student.onnx",
            candidates=self.root / "models/candidates",
            runtime=self.runtime,
        )

    def edit(self, path: str, **changes: Any) -> None:
        write_json(self.root / path, read_json(self.root / path) | changes)

    def spec(self) -> BundleSpec:
        """The bundle of the first candidate."""
        inputs = self.read()
        chosen, *_ = inputs.made.candidates
        model = self.root / "models/candidates" / chosen.model
        made_from = inputs.made_from(chosen, self.evaluated)
        return BundleSpec(
            name="small",
            files=[model],
            hashes={model: chosen.files[chosen.model]},
            runtime="onnxruntime",
            precision="fp32",
            batch="dynamic",
            portable=None,
            labels=LABELS,
            image_size=SIZE,
            channels=3,
            fit="crop",
            threads=1,
            requirements="",
            record={
                "params": {},
                "candidates": [],
                "chosen": asdict(Chosen(chosen.name, "the first", "local")),
                "made_from": asdict(made_from),
                "data": {},
            },
            data_license=None,
        )


def write_chain(root: Path, seed: int = 0) -> Chain:
    """Writes two candidates, and an evaluation with the figures of a recording."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (9, SIZE, SIZE, 3), dtype=np.uint8)
    labels = np.arange(9) % CLASSES
    splits = dict.fromkeys(("train", "val", "test"), (images, labels))
    data = write_prepared(root / "data/prepared", LABELS, splits)
    for folder in ("onnx", "candidates/ort-fp32", "candidates/ort-int8"):
        (root / "models" / folder).mkdir(parents=True)
    onnx = root / "models/onnx"
    for name in ("teacher", "student", "student-b1"):
        write_model(onnx / f"{name}.onnx", scale=0.01 + len(name) / 1000 + seed / 1000)
    write_json(root / "models/student/model.json", _student(data.fingerprint))

    exported = {name: hash_file(onnx / name) for name in ("student.onnx", "student-b1.onnx")}
    made = []
    for number, name in enumerate(("ort-fp32", "ort-int8")):
        path = root / f"models/candidates/{name}/model.onnx"
        write_model(path, scale=0.02 + number / 100 + seed / 1000)
        made.append(_candidate(name, path))
    sources = Sources(data.fingerprint, STUDENT, exported, {})
    chain = Chain(root, data)
    write_json(chain.listed, asdict(CandidateSet(tuple(made), "ort-fp32", (), sources)))
    content = DeviceRuntime(chain.runtime).content_hash()
    evaluation = _evaluation(made, hash_file(onnx / "teacher.onnx"), data.fingerprint, content)
    write_json(chain.evaluated, asdict(evaluation))
    return chain


def _student(data: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "classes": LABELS,
        "image_size": SIZE,
        "weights_sha256": STUDENT,
        "data": data,
        "code": "c0" * 32,
        "reports": {},
        "recipe": {},
        "teacher_logits": {"teacher": "7e" * 32, "data": data, "views": "8e" * 32},
        "cache": "ca" * 32,
        "class_order": {"order": [0, 1, 2], "sha256": "0d" * 32},
    }


def _candidate(name: str, path: Path) -> MadeCandidate:
    return MadeCandidate(
        name=name,
        runtime="onnxruntime",
        precision="fp32",
        batch="dynamic",
        runtime_version="1",
        model=f"{name}/model.onnx",
        files={f"{name}/model.onnx": hash_file(path)},
        bytes=path.stat().st_size,
        options={},
        float_layers=(),
    )


def _evaluation(made: list[MadeCandidate], teacher: str, data: str, runtime: str) -> Evaluation:
    measured = [
        replace(old, name=new.name, files=new.files, bytes=new.bytes)
        for old, new in zip(RECORDING.candidates, made, strict=False)
    ]
    assert RECORDING.teacher is not None
    return replace(
        RECORDING,
        candidates=measured,
        reference=made[0].name,
        teacher=replace(RECORDING.teacher, files={"teacher.onnx": teacher}),
        data=data,
        runtime=runtime,
    )
