"""A small project on drawn images, whose stages run in this process."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import Any

import click
import yaml
from projects import ROOT, make_project, test_accuracy

from pipeline.data.prepared import open_prepared
from pipeline.params.editing import merged

from .settings import Settings

INPUTS = ("data/prepared", "models/teacher", "data/teacher_logits")


def small_params(settings: Settings, changes: dict[str, Any]) -> str:
    """The text of ``params.yaml``; ``changes`` are sections as in that file."""
    classes, images, epochs, batch = (4, 24, 1, 16) if settings.tiny else (8, 400, 8, 64)
    training = {
        "pretrained": "none",
        "epochs": epochs,
        "batch_size": batch,
        "lr": 0.02,
        "weight_decay": 5e-4,
    }
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    own = {
        "recipe": "none",
        "run": {"device": settings.device_type, "threads": 1 if settings.tiny else 0},
        "prepare": {
            "source": "typefaces",
            "typefaces": {"classes": classes, "images_per_class": images},
            "image_size": 32,
            "block": 1,
        },
        "finetune": {"model": "cifar_resnet8" if settings.tiny else "cifar_resnet20", **training},
        "cache_logits": {"views": 2},
        "distill": {"model": "cifar_resnet8", **training},
    }
    return yaml.safe_dump(merged(merged(params, own), changes), sort_keys=False)


def project(settings: Settings, name: str, changes: dict[str, Any] | None = None) -> Path:
    """A project with packed images that all projects share."""
    shared = settings.folder / "projects/prepared"
    make_project(shared, small_params(settings, {}), {})
    run_stage("prepare", shared)
    links = {"data/prepared": shared / "data/prepared"}
    return make_project(
        settings.folder / "projects" / name, small_params(settings, changes or {}), links
    )


def taught_project(settings: Settings, name: str, changes: dict[str, Any] | None = None) -> Path:
    """A project that also shares the teacher and its logits."""
    shared = project(settings, "taught")
    for stage in ("finetune", "cache_logits"):
        run_stage(stage, shared)
    links = {path: shared / path for path in INPUTS}
    return make_project(
        settings.folder / "projects" / name, small_params(settings, changes or {}), links
    )


def run_stage(stage: str, folder: Path) -> None:
    """Runs a stage in this process, unless it has finished there before.

    Raises:
        RuntimeError: The stage has failed; it has printed why.
    """
    done = folder / f".{stage}-done"
    if done.exists():
        return
    command: click.Command = getattr(importlib.import_module(f"stages.{stage}"), stage)
    with contextlib.chdir(folder):
        try:
            command.main([], standalone_mode=False)
        except SystemExit as error:
            raise RuntimeError(f"the stage {stage} ended with status {error.code}") from None
    done.touch()


def student_accuracy(folder: Path) -> float:
    """Test accuracy of the student in percent."""
    return test_accuracy(folder, "student")


def test_images(folder: Path) -> int:
    """Number of test images."""
    return len(open_prepared(folder / "data/prepared").split("test"))
