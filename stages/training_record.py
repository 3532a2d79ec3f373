"""What the training stages log and leave behind."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import torch

from pipeline.data.prepared import Split
from pipeline.files import whole_file, write_json
from pipeline.measure.accuracy import score
from pipeline.models.cost import count_multiply_adds
from pipeline.training.loop import Epoch, Trained, predict


def log_epoch(log: logging.Logger, epochs: int, done: Epoch) -> None:
    """One line an epoch."""
    parts = ", ".join(f"{name} {value:.4f}" for name, value in done.parts.items())
    log.info(
        "epoch %d/%d: loss %.4f (%s), validation accuracy %.1f %%",
        done.epoch,
        epochs,
        done.loss,
        parts,
        100 * done.val_accuracy,
    )


def write_history(path: Path, history: list[Epoch]) -> None:
    """A row an epoch, for ``dvc plots``."""
    rows = [
        {"epoch": e.epoch, "loss": e.loss, **e.parts, "val_accuracy": e.val_accuracy}
        for e in history
    ]
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_figures(path: Path, trained: Trained, val: Split, device: torch.device) -> dict[str, Any]:
    """Validation figures of the best epoch, for ``dvc metrics``."""
    scored = score(predict(trained.model, val, device), val.labels)
    figures = {
        "val_accuracy": scored.accuracy,
        "val_balanced_accuracy": scored.balanced_accuracy,
        "val_majority_share": max(map(sum, scored.confusion)) / len(val),
        "best_epoch": trained.best.epoch,
        "multiply_adds": count_multiply_adds(trained.model),
        "parameters": sum(p.numel() for p in trained.model.parameters()),
    }
    write_json(path, figures)
    return figures
