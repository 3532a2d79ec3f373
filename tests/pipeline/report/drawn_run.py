"""The files of a whole run, drawn instead of trained."""

import copy
import csv
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.data.prepared import SplitInfo
from pipeline.files import hash_file, hash_value, read_json, write_json
from pipeline.measure.host import Host
from pipeline.models.record import FORMAT
from pipeline.params import params_model
from pipeline.report.artifacts import Difference, Parity
from pipeline.report.reading import ReportInputs, read_facts
from pipeline.shipping.answers import Answers, top_classes, write_answers
from pipeline.shipping.quality import judge
from pipeline.shipping.select import select_candidate
from pipeline.shipping.verify import Verification, compare_models
from tests.pipeline.report.drawn_evaluation import (
    CANDIDATES,
    CLASSES,
    PER_CLASS,
    draw_evaluation,
    draw_logits,
    model_files,
    quantized,
)
from tests.prepared_data import describe

SIZE = 24  # of the images, in pixels
TEACHER_SHA, STUDENT_SHA, CACHE_SHA = "7e" * 32, "57" * 32, "ca" * 32
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


def _verified(candidate, rng, archive, data, path):
    labels = np.repeat(np.arange(len(CLASSES)), PER_CLASS["test"])
    student, teacher = draw_logits(labels, 0.6, rng), draw_logits(labels, 0.63, rng)
    logits = {"student": student, "teacher": teacher}
    logits["shipped"] = quantized(student, labels, 6, 3)
    top = {name: top_classes(each) for name, each in logits.items()}
    write_answers(path, Answers(image_names(len(labels)), labels, top), CLASSES)
    return Verification(
        **vars(compare_models(logits, labels, 1.25)),
        bundle_sha256=archive,
        bundle_bytes=1_931_002,
        candidate=candidate,
        answers_sha256=hash_file(path),
        data=data,
    )


def image_names(count):
    return [f"cells/<{number}>.png" for number in range(count)]


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
        rng = np.random.default_rng(5)
        for folder in ("data/prepared", "models/candidates", "reports", "dist"):
            (root / folder).mkdir(parents=True)

        splits = {
            name: SplitInfo(images=sum(counts), per_class=counts, files={})
            for name, counts in PER_CLASS.items()
        }
        origin = "https://images.example/set"
        splits["test"] = self._write_test_images()
        dataset = describe(CLASSES, SIZE, splits, origin=origin, license="CC BY 4.0")
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
        evaluation = draw_evaluation(rng, host, self.fingerprint)
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
        verified = _verified(
            selection.chosen,
            rng,
            hash_file(archive),
            self.fingerprint,
            self.reports / "test_answers.csv",
        )
        write_json(self.reports / "verify.json", asdict(verified))

    @property
    def reports(self):
        return self.root / "reports"

    def copied_to(self, root):
        """The same run in another folder."""
        shutil.copytree(self.root, root)
        copied = copy.copy(self)
        copied.root = root
        return copied

    def _write_test_images(self):
        """The test images, each of one color."""
        folder, counts = self.root / "data/prepared/test", PER_CLASS["test"]
        folder.mkdir()
        labels = np.repeat(np.arange(len(CLASSES)), counts)
        colors = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
        np.save(folder / "images.npy", np.broadcast_to(colors, (len(labels), SIZE, SIZE, 3)))
        np.save(folder / "labels.npy", labels)
        np.save(folder / "groups.npy", np.arange(len(labels)))
        (folder / "names.txt").write_text("\n".join([*image_names(len(labels)), ""]))
        files = ("groups.npy", "images.npy", "labels.npy", "names.txt")
        hashes = {file: hash_file(folder / file) for file in files}
        return SplitInfo(images=len(labels), per_class=counts, files=hashes)

    def write_record(self, name, weights, recipe, inputs):
        """Writes ``model.json``, with the hashes of the reports that exist."""
        reports = [self.reports / f"{name}.json", self.reports / f"{name}_history.csv"]
        record = {
            "format": FORMAT,
            "classes": CLASSES,
            "image_size": SIZE,
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
