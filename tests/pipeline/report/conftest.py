import csv
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from finch_runtime.protocol import Conditions, Rate

from pipeline.data.prepared import SplitInfo
from pipeline.files import hash_file, hash_value, read_json, write_json
from pipeline.measure.accuracy import agreement, correct, score
from pipeline.measure.evaluation import Evaluation, Measured
from pipeline.measure.host import Host
from pipeline.measure.latency import Footprint, Latency
from pipeline.measure.throughput import Threaded, Throughput
from pipeline.models.record import FORMAT
from pipeline.params import params_model
from pipeline.report.artifacts import Difference, Parity
from pipeline.report.page import render
from pipeline.report.reading import ReportInputs, read_facts
from pipeline.shipping.quality import judge
from pipeline.shipping.select import select_candidate
from pipeline.shipping.verify import SplitMetrics, Verification
from pipeline.statistics import paired_drop
from tests.pipeline.report.html_tree import Tree
from tests.prepared_data import describe

CLASSES = (
    "mono 0 %",
    "mono 33 %",
    "<b>mono</b> & \"67\" 'x'",
    "poly 0 %",
    "poly 33 %",
    "poly 67 %",
)
PER_CLASS = {
    "train": [420, 90, 60, 300, 80, 50],
    "val": [140, 30, 20, 100, 27, 17],
    "test": [140, 31, 19, 100, 0, 16],
}
REFERENCE = "onnxruntime-fp32"
TEACHER_SHA, STUDENT_SHA, CACHE_SHA = "7e" * 32, "57" * 32, "ca" * 32

# Name, runtime, precision, batch, bytes, typical p50 in ms, correct predictions lost and gained.
CANDIDATES = (
    (REFERENCE, "onnxruntime", "fp32", "dynamic", 1_652_311, 0.712, 0, 0),
    ("onnxruntime-int8", "onnxruntime", "int8", "dynamic", 643_212, 0.951, 4, 3),
    ("openvino-fp16", "openvino", "fp16", "dynamic", 921_004, 1.010, 0, 0),
    ("openvino-int8", "openvino", "int8", "dynamic", 702_118, 1.004, 9, 2),
    ("openvino-fp16-b1", "openvino", "fp16", 1, 918_771, 0.705, 1, 0),
    ("openvino-int8-b1", "openvino", "int8", 1, 701_640, 0.681, 5, 3),
)
MIXED_PRECISION = {
    "candidate": "onnxruntime-int8",
    "drop": {"points": 3.5, "low": 1.5, "high": 6.25, "lost": 14, "gained": 2, "images": 334},
    "mixed": None,
    "outcome": "no candidate was added: the drop with <2> of 4 layers in float is too large",
    "images": 128,
    "sensitivities": [
        {"layer": "blocks.1.0.conv_dw", "error": 0.421, "lost": 5},
        {"layer": "blocks.0.0.<conv>", "error": 0.1, "lost": 1},
    ],
    "steps": [
        {
            "float_layers": ["blocks.1.0.conv_dw", "blocks.0.0.<conv>"][:count],
            "multiply_adds": 0.125 * count,
            "weights": 0.0625 * count,
            "bytes": 650_000,
            "drop": {
                "points": 2.5,
                "low": 1.0,
                "high": 5.5,
                "lost": 10,
                "gained": 2,
                "images": 334,
            },
        }
        for count in (1, 2)
    ],
}
TEACHER = ("teacher", "onnxruntime", "fp32", "dynamic", 13_531_207, 2.754, 0, 0)

PARAMS = params_model().model_validate(
    {
        "finetune": {"epochs": 6, "batch_size": 32, "lr": 0.01, "weight_decay": 0.0001},
        "distill": {"epochs": 30, "batch_size": 32, "lr": 0.05, "weight_decay": 0.0005},
        "quantize": {
            "candidates": [
                {"name": name, "runtime": runtime, "precision": precision, "batch": batch}
                for name, runtime, precision, batch, *_ in CANDIDATES
            ]
        },
        "bundle": {"max_drop_bound": 2.75},
    }
)


def _logits(labels, accuracy, rng):
    """Logits float32 [n, classes] with about this accuracy."""
    logits = rng.normal(size=(len(labels), len(CLASSES)))
    right = rng.random(len(labels)) < accuracy
    wrong = (labels + rng.integers(1, len(CLASSES), len(labels))) % len(CLASSES)
    logits[np.arange(len(labels)), np.where(right, labels, wrong)] = 9
    return logits.astype(np.float32)


def _quantized(logits, labels, lost, gained):
    """Logits that lose and gain this many correct predictions."""
    right = logits.argmax(1) == labels
    changed = logits.copy()
    for rows, moved in ((np.flatnonzero(right)[:lost], 1), (np.flatnonzero(~right)[:gained], 0)):
        changed[rows, (labels[rows] + moved) % len(CLASSES)] = 99
    return changed


def _latency(runtime, p50, rng):
    seconds = p50 * rng.lognormal(0, 0.05, size=(7, 150)) * rng.lognormal(0, 0.01, size=(7, 1))
    round_p50s = np.median(seconds, axis=1)
    p50, p90, p99 = np.percentile(seconds, [50, 90, 99])
    return Latency(
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        max_ms=float(seconds.max()),
        round_p50s_ms=round_p50s.tolist(),
        round_ratios={
            percentile: np.percentile(seconds, int(percentile[1:]), axis=1).tolist()
            for percentile in ("p50", "p90", "p99")
        },
        load_ms=31.25,
        first_ms=4.5,
        runs=seconds.size,
        threads=1,
        runtime=runtime,
        runtime_version={"onnxruntime": "1.22.0", "openvino": "2025.2.0"}[runtime],
        settings={"threads_of": runtime},
    )


def model_files(name):
    return {f"{name}.onnx" if name == "teacher" else f"{name}/model": hash_value(name)}


def _evaluation(rng, host, data):
    labels = np.repeat(np.arange(len(CLASSES)), PER_CLASS["val"])
    student, teacher = _logits(labels, 0.69, rng), _logits(labels, 0.72, rng)
    logits = {
        name: _quantized(student, labels, lost, gained) for name, *_, lost, gained in CANDIDATES
    }
    logits["teacher"] = teacher
    latencies = {
        name: _latency(runtime, p50, rng) for name, runtime, *_, p50, _, _ in (*CANDIDATES, TEACHER)
    }
    units = latencies[REFERENCE].round_ratios
    for name, latency in latencies.items():
        ratios = {
            percentile: (np.array(rounds) / units[percentile]).tolist()
            for percentile, rounds in latency.round_ratios.items()
        }
        latencies[name] = replace(latency, round_ratios=ratios)

    def measured(name, runtime, precision, batch, size, *_):
        scored = score(logits[name], labels)
        return Measured(
            name=name,
            runtime=runtime,
            precision=precision,
            batch=batch,
            bytes=size,
            accuracy=scored.accuracy,
            balanced_accuracy=scored.balanced_accuracy,
            top5=scored.top5,
            calibration_error=scored.calibration_error,
            recalls=scored.recalls,
            agreement=agreement(logits[name], student),
            drop=paired_drop(correct(student, labels), correct(logits[name], labels)),
            latency=latencies[name],
            ratio=latencies[name].ratio(),
            drop_to_teacher=paired_drop(correct(teacher, labels), correct(logits[name], labels)),
            footprint=Footprint(61_200_000, 30_100_000, 55_000_000, None, "not measured: no meter"),
            throughput=Throughput([Threaded(1, 0.7, [Rate(1, 1234.0), Rate(8, 2345.0)])], None),
            files=model_files(name),
        )

    return Evaluation(
        host=host,
        device="local",
        images=len(labels),
        rounds=7,
        ended="converged",
        half_width=0.031,
        threads=1,
        reference=REFERENCE,
        candidates=[measured(*about) for about in CANDIDATES],
        not_run=[],
        teacher=measured(*TEACHER),
        notes=[],
        conditions=[Conditions(51.4, None), Conditions(55.6, None)],
        data=data,
        runtime="5e" * 32,
        class_images=dict(zip(CLASSES, PER_CLASS["val"], strict=True)),
    )


def _verified(candidate, rng, archive, data):
    labels = np.repeat(np.arange(len(CLASSES)), PER_CLASS["test"])
    student, teacher = _logits(labels, 0.6, rng), _logits(labels, 0.63, rng)
    logits = {"student": student, "teacher": teacher}
    logits["shipped"] = _quantized(student, labels, 6, 3)

    def figures(name):
        scored = score(logits[name], labels)
        return SplitMetrics(
            scored.accuracy,
            scored.balanced_accuracy,
            scored.recalls,
            agreement(logits[name], student),
        )

    def drop_to(name):
        return paired_drop(correct(logits[name], labels), correct(logits["shipped"], labels))

    return Verification(
        bundle_sha256=archive,
        bundle_bytes=1_931_002,
        candidate=candidate,
        images=len(labels),
        shipped=figures("shipped"),
        student=figures("student"),
        teacher=figures("teacher"),
        drop_to_student=drop_to("student"),
        drop_to_teacher=drop_to("teacher"),
        data=data,
    )


def _write_training(reports, who, epochs, best, figures, parts):
    rows = [
        {
            "epoch": epoch,
            "loss": 2.0 / epoch + 0.3,
            **{name: fraction * (2.0 / epoch + 0.3) for name, fraction in parts.items()},
            "val_accuracy": 0.7 - 0.3 / epoch - 0.01 * (epoch != best),
            "val_balanced_accuracy": 0.512,
            "val_macro_f1": 0.487 - 0.2 / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]
    with (reports / f"{who}_history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    write_json(
        reports / f"{who}.json",
        {
            "val_accuracy": rows[best - 1]["val_accuracy"],
            "val_balanced_accuracy": 0.512,
            "val_macro_f1": 0.431,
            "val_majority_fraction": 0.419,
            "best_epoch": best,
            **figures,
        },
    )


def _parity(images, batches, sha256):
    return asdict(
        Parity(images, [Difference(b, 3.4e-5, 2.6e-6, 1.2e-6, 1.0) for b in batches], sha256)
    )


def report_inputs(root):
    folders = {name: root / "models" / name for name in ("teacher", "student", "qat", "candidates")}
    return ReportInputs(
        prepared=root / "data/prepared",
        reports=root / "reports",
        manifest=root / "dist/manifest.json",
        **folders,
    )


class Run:
    """The files of a whole run, in a folder, small but complete."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reports = root / "reports"
        rng = np.random.default_rng(5)
        for folder in ("data/prepared", "models/candidates", "reports", "dist"):
            (root / folder).mkdir(parents=True)

        splits = {
            name: SplitInfo(images=sum(counts), per_class=counts, files={})
            for name, counts in PER_CLASS.items()
        }
        origin = "https://images.example/set"
        dataset = describe(CLASSES, 96, splits, origin=origin, license="CC BY 4.0")
        self.fingerprint = dataset.fingerprint
        write_json(root / "data/prepared/dataset.json", asdict(dataset))

        teacher_cost = {"multiply_adds": 71_234_567, "parameters": 3_381_254}
        student_cost = {"multiply_adds": 10_812_345, "parameters": 406_280}
        parts = {"cross_entropy": 0.7, "detail": 0.3}
        _write_training(self.reports, "teacher", 6, 5, teacher_cost, {"cross_entropy": 1})
        _write_training(self.reports, "student", 30, 27, student_cost, parts)
        order = [3, 0, 4, 1, 5, 2]
        student = {
            "teacher_logits": {
                "teacher": TEACHER_SHA,
                "data": self.fingerprint,
                "views": "8e" * 32,
            },
            "cache": CACHE_SHA,
            "class_order": {"order": order, "sha256": hash_value([CLASSES[c] for c in order])},
        }
        self.write_record("teacher", TEACHER_SHA, PARAMS.finetune, {})
        self.write_record("student", STUDENT_SHA, PARAMS.distill, student)
        write_json(
            self.reports / "parity.json",
            {
                "teacher": _parity(64, (1, 2, 7), hash_value("teacher")),
                "student": _parity(64, (1, 2, 7), hash_value("student")),
                "student-b1": _parity(64, (1,), hash_value("student-b1")),
            },
        )

        host = Host(
            cpu="Model <X> 9000",
            architecture="x86_64",
            flags=["avx2", "fma"],
            physical_cores=2,
            logical_cores=4,
            affinity="0-1",
            memory_gib=8,
            system="Linux 6.1",
            python="3.11.9",
            packages={"onnxruntime": "1.22.0", "openvino": "2025.2.0"},
        )
        evaluation = _evaluation(rng, host, self.fingerprint)
        write_json(self.reports / "evaluations/local.json", asdict(evaluation))

        selection = select_candidate(evaluation, PARAMS.bundle)
        manifest = {
            "format": 1,
            "name": "finch-student",
            "created_by": "finch 0.1.0",
            "params": PARAMS.model_dump(),
            "candidates": [
                {**asdict(m), **asdict(v)}
                for m, v in zip(evaluation.candidates, selection.verdicts, strict=True)
            ],
            "labels": CLASSES,
            "threads": 1,
            "chosen": {"name": selection.chosen, "reason": selection.reason, "device": "local"},
            "verdict": asdict(judge(evaluation, selection.chosen, PARAMS.bundle)),
            "made_from": {
                "data": self.fingerprint,
                "teacher": TEACHER_SHA,
                "views": "8e" * 32,
                "cache": CACHE_SHA,
                "student": STUDENT_SHA,
                "code": "c0" * 32,
                "onnx": {f"{name}.onnx": hash_value(name) for name in ("student", "teacher")},
                "model": model_files(selection.chosen),
                "evaluation": hash_file(self.reports / "evaluations/local.json"),
                "runtime": "5e" * 32,
            },
        }
        write_json(root / "dist/manifest.json", manifest)
        write_json(
            root / "models/candidates/candidates.json",
            {
                "candidates": [
                    {
                        "name": name,
                        "files": model_files(name),
                        "options": {"method": "static", "types": "u8s8"}
                        if precision == "int8"
                        else {},
                        "float_layers": [],
                    }
                    for name, _, precision, *_ in CANDIDATES
                ],
                "mixed_precision": [MIXED_PRECISION],
                "made_from": {
                    "data": self.fingerprint,
                    "student": STUDENT_SHA,
                    "onnx": {f"{n}.onnx": hash_value(n) for n in ("student", "student-b1")},
                    "qat": {},
                },
            },
        )
        self.qat = {
            "epochs": 3,
            "method": "figkd",
            "accuracy_fp32": 0.691,
            "accuracy_int8_initial": 0.662,
            "accuracy_int8": 0.687,
            "best_epoch": 2,
            "parity": {
                "student": _parity(64, (1, 2, 7), hash_value("qat student")),
                "student-b1": _parity(64, (1,), hash_value("qat student-b1")),
            },
            "student": STUDENT_SHA,
            "data": self.fingerprint,
            "cache": CACHE_SHA,
            "files": {
                "student.onnx": hash_value("qat student"),
                "student-b1.onnx": hash_value("qat student-b1"),
            },
        }
        archive = root / "dist/finch-student.tar.gz"
        archive.write_bytes(b"the archive")
        verified = _verified(selection.chosen, rng, hash_file(archive), self.fingerprint)
        write_json(self.reports / "verify.json", asdict(verified))

    def write_record(self, name, weights, recipe, inputs):
        """Writes ``model.json``, with the hashes of the reports that exist."""
        reports = [self.reports / f"{name}.json", self.reports / f"{name}_history.csv"]
        record = {
            "format": FORMAT,
            "classes": CLASSES,
            "image_size": 96,
            "weights_sha256": weights,
            "data": self.fingerprint,
            "code": "c0" * 32,
            "reports": {path.name: hash_file(path) for path in reports},
            "recipe": recipe.model_dump(),
        }
        write_json(self.root / f"models/{name}/model.json", record | inputs)

    def change(self, file, *keys, to):
        """Changes one value of a JSON file; ``keys`` is its place."""
        whole = read_json(self.root / file)
        *places, last = keys
        part = whole
        for place in places:
            part = part[place]
        part[last] = to
        write_json(self.root / file, whole)

    def record_again(self):
        """Lets the bundle be made from the evaluation as it is now."""
        now = hash_file(self.reports / "evaluations/local.json")
        self.change("dist/manifest.json", "made_from", "evaluation", to=now)

    def remove_teacher(self):
        """Lets the device be unable to run the teacher."""
        path = self.reports / "evaluations/local.json"
        found = read_json(path)
        about = {key: found["teacher"][key] for key in ("name", "runtime", "precision", "batch")}
        about |= {key: found["teacher"][key] for key in ("bytes", "files")}
        found["teacher"] = None
        found["not_run"].append({**about, "problem": "needs <400> MB more memory"})
        write_json(path, found)
        self.record_again()

    def add_qat(self, **changes):
        """Makes one of the candidates come from quantization-aware training."""
        path = self.root / "models/candidates/candidates.json"
        made = read_json(path)
        made["candidates"][1]["options"] = {"method": "qat"}
        made["made_from"]["qat"] = self.qat["files"]
        write_json(path, made)
        (self.root / "models/qat").mkdir()
        write_json(self.root / "models/qat/qat.json", self.qat | changes)

    def read(self):
        return read_facts(report_inputs(self.root))


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


@pytest.fixture(scope="session")
def facts(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("facts") / "run").read()


@pytest.fixture(scope="module")
def page(facts):
    return render(facts)


@pytest.fixture(scope="module")
def tree(page):
    return Tree(page).root
