"""A small project in which the stages of the teacher run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from numpy.typing import NDArray

from pipeline.models.classifier import load_classifier
from stages import command, teacher_training
from stages.finetune import finetune
from tests.prepared_data import write_prepared
from tests.small_project import small_params

CPU = torch.device("cpu")
CLASSES = ("ape", "bee", "cat")
IMAGES = 24
MEMBERS = [{"seed": 1}, {"model": "test_byobnet", "pretrained": "none", "weight": 3.0}]
FOLDERS = ("", "members/0", "members/1")
WEIGHTS = (1.0, 1.0, 3.0)


@contextmanager
def stages_in_this_process() -> Iterator[None]:
    """Signals and the number of threads are as before at the end."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "raise_interrupts", lambda: None)
        yield
    torch.set_num_threads(threads)


def write_project(folder: Path, changed_image: int | None = None, **sections: Any) -> None:
    """Random images in pairs that are groups, and parameters; ``sections`` changes them."""
    rng = np.random.default_rng(0)
    labels = np.arange(IMAGES) // 2 % len(CLASSES)
    splits, groups = {}, {}
    for split in ("train", "val", "test"):
        splits[split] = (rng.integers(0, 256, (IMAGES, 32, 32, 3), np.uint8), labels)
        groups[split] = np.arange(IMAGES) // 2
    if changed_image is not None:
        splits["train"][0][changed_image] = 255 - splits["train"][0][changed_image]
    write_prepared(folder / "data/prepared", CLASSES, splits, groups)
    params = small_params(folder)
    for section in ("finetune", "distill"):
        params[section] |= {"epochs": 2, "batch_size": 8, "lr": 0.001}
    params["cache_logits"]["dtype"] = "float32"
    for section, values in sections.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def run(folder: Path, stage: Any, *overrides: str, fails: bool = False) -> str:
    """Runs a stage, and returns its log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(stage, [f"--set={override}" for override in overrides])
    assert done.exit_code == int(fails), done.output
    return done.output


def interrupt_finetune(folder: Path, networks: int) -> None:
    """Ends the stage finetune after this number of networks."""
    train, started = teacher_training.train_network, []

    def interrupted(*arguments: Any) -> Any:
        if len(started) == networks:
            raise KeyboardInterrupt
        started.append(arguments)
        return train(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_training, "train_network", interrupted)
        patch.chdir(folder)
        assert CliRunner().invoke(finetune, []).exit_code
    assert len(started) == networks


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def mean_of_networks(
    teacher: Path, pixels: torch.Tensor, members: int = len(MEMBERS)
) -> NDArray[np.float64]:
    """The logits of a teacher with ``MEMBERS``, computed with NumPy from the written files."""
    networks = [load_classifier(teacher / name, CPU)[0] for name in FOLDERS[: members + 1]]
    with torch.inference_mode():
        each = [network(pixels).numpy().astype(np.float64) for network in networks]
    return np.average(each, axis=0, weights=WEIGHTS[: members + 1])
