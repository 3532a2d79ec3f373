"""Projects of the benchmarks: folders in which the stages run with their own parameters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.data.prepared import open_prepared
from pipeline.measure.accuracy import score
from pipeline.models.classifier import load_classifier
from pipeline.training.validation import compute_logits

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


def make_project(folder: Path, params: str, links: Mapping[str, Path]) -> Path:
    """A folder with the text of a parameter file, and links to files of other folders."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    for name, source in {"deploy": ROOT / "deploy", **links}.items():
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(source.resolve())
    return folder


def run_stage(stage: str, folder: Path) -> None:
    """Runs one stage in a folder, unless it has finished there before."""
    done = folder / f".{stage}-done"
    if done.exists():
        return
    subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder, check=True)
    done.touch()


def test_accuracy(project: Path, network: str) -> float:
    """Test accuracy of ``teacher`` or ``student``, in percent."""
    model, _ = load_classifier(project / "models" / network, CPU)
    test = open_prepared(project / "data/prepared").split("test", model.spec.image_size)
    return 100 * score(compute_logits(model, test, CPU), test.labels).accuracy
