"""What the training stages log and leave behind."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.data.prepared import Split
from pipeline.files import whole_file, write_json
from pipeline.measure.accuracy import score
from pipeline.models.cost import count_multiply_adds
from pipeline.training.history import Epoch
from pipeline.training.loop import Trained
from pipeline.training.validation import compute_logits

if TYPE_CHECKING:
    from dvclive import Live


class EpochLog:
    """Tells of every epoch: a line in the log, and a point in DVCLive's plots.

    Args:
        log: Where the lines go.
        epochs: How many there are to be.
        folder: DVCLive's. Its plots are made anew from the history when training goes on, so no
            epoch is in them twice.
    """

    def __init__(self, log: logging.Logger, epochs: int, folder: Path) -> None:
        self._log = log
        self._epochs = epochs
        self._folder = folder
        self._live: Live | None = None

    def done(self, epoch: Epoch) -> None:
        """An epoch is done."""
        parts = ", ".join(f"{name} {value:.4f}" for name, value in epoch.parts.items())
        self._log.info(
            "epoch %d/%d: loss %.4f (%s), validation accuracy %.1f %%",
            epoch.epoch,
            self._epochs,
            epoch.loss,
            parts,
            100 * epoch.val_accuracy,
        )
        self._draw(epoch)

    def resumed(self, history: list[Epoch], steps: int) -> None:
        """Training goes on after the epochs of ``history`` and ``steps`` of the next one."""
        self._log.info("goes on after %d epochs and %d steps of the next", len(history), steps)
        for epoch in history:
            self._draw(epoch)

    def _draw(self, epoch: Epoch) -> None:
        if not Path(".dvc").is_dir():
            return  # DVCLive would make a DVC repository of the git repository around this folder
        if self._live is None:
            from dvclive import Live  # takes a second or two

            self._live = Live(str(self._folder), save_dvc_exp=False, dvcyaml=None)
        self._live.step = epoch.epoch
        for name, value in _row(epoch).items():
            if name != "epoch":
                self._live.log_metric(name, value)
        self._live.make_summary()


def write_history(path: Path, history: list[Epoch]) -> None:
    """A row an epoch, for ``dvc plots``."""
    rows = [_row(epoch) for epoch in history]
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _row(epoch: Epoch) -> dict[str, float]:
    accuracy = {"val_accuracy": epoch.val_accuracy}
    return {"epoch": epoch.epoch, "loss": epoch.loss, **epoch.parts, **accuracy}


def write_figures(path: Path, trained: Trained, val: Split, device: torch.device) -> dict[str, Any]:
    """Validation figures of the best epoch, for ``dvc metrics``."""
    scored = score(compute_logits(trained.model, val, device), val.labels)
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
