"""Trains the runs of a comparison and keeps what came of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import losses
from pipeline.compare.plan import Run
from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtefactError, ParameterError
from pipeline.files import hash_file, read_json, whole_file
from pipeline.logit_cache import CacheKey
from pipeline.losses.figkd.class_order import order_classes
from pipeline.models.classifier import load_classifier, save_classifier
from pipeline.models.pretrained import start_classifier
from pipeline.params import Views
from pipeline.training.loop import train
from pipeline.training.teacher import CachedTeacher
from pipeline.training.validation import compute_logits


@dataclass(frozen=True)
class ComparisonSetup:
    """What all runs have in common.

    Attributes:
        data: The prepared splits.
        teacher: The teacher's answers on the training split, and its views where they are packed.
        head: Gives the weights [classes, features] of the teacher's classifier layer.
        cache: The key that they are kept under.
        views: The recipe that they were made with.
        folds: Places in the training split, per fold.
        device: Where to train.
    """

    data: PreparedData
    teacher: CachedTeacher
    head: Callable[[], NDArray[np.floating]]
    cache: CacheKey
    views: Views
    folds: list[NDArray[np.int64]]
    device: torch.device

    def name_of(self, run: Run) -> str:
        """The run's key.

        Raises:
            ParameterError: The file that its student starts from cannot be read.
        """
        file = run.distill.weights
        first_weights = _hash_once(file) if file is not None else None
        return run.key(self.cache, [fold.tolist() for fold in self.folds], first_weights)


@dataclass(frozen=True)
class RunStore:
    """Finished runs, a folder each; a run that is there is never trained again."""

    folder: Path

    def read(self, name: str) -> dict[str, Any] | None:
        """What a finished run came to (see ``train_run``); None if it is not finished."""
        path = self.folder / name / "model.json"
        return read_json(path) if path.is_file() else None

    @contextmanager
    def claim(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Holds a run against other processes in the same folder, also if this one is killed.

        Yields:
            False when another process holds it and ``wait`` is false.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder / f"{name}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def test_logits(self, name: str, bench: ComparisonSetup) -> NDArray[np.float32]:
        """The run's logits float32 [n, classes] on the test split, computed once.

        Raises:
            ArtefactError: The run is not finished, or a file is damaged.
        """
        path = self.folder / name / "test_logits.npy"
        if not path.is_file():
            model, _ = load_classifier(self.folder / name, bench.device)
            logits = compute_logits(model, bench.data.split("test"), bench.device)
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, logits)
        try:
            return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
        except (ValueError, EOFError, OSError) as error:
            raise ArtefactError(path, f"is damaged ({error})", "delete it, run again") from None


def train_run(run: Run, bench: ComparisonSetup, store: RunStore) -> dict[str, Any]:
    """Trains a run and keeps its weights and figures.

    A trial is judged on the fold that was held out, a final run on the validation split; the test
    split is not read.

    Returns:
        ``model.json``: among others ``val_accuracy`` of the kept weights, and ``seconds``.

    Raises:
        TrainingError: The loss is not finite.
    """
    data = bench.data
    train_split = data.split("train")
    if run.fold is None:
        places, judged_on = None, data.split("val")
    else:
        places = np.sort(np.concatenate([f for k, f in enumerate(bench.folds) if k != run.fold]))
        judged_on = train_split.only(bench.folds[run.fold])
    order = order_classes(
        run.distill.class_order,
        train_split.labels,
        bench.teacher.logits,
        classes=data.classes,
        head=bench.head,
    )
    torch.manual_seed(run.seed)
    started = time.perf_counter()
    trained = train(
        start_classifier(run.distill, data.classes, data.image_size),
        losses.build(run.distill, len(data.classes), order),
        run.distill,
        train_split,
        judged_on,
        bench.views,
        device=bench.device,
        seed=run.seed,
        teacher=bench.teacher,
        places=places,
    )
    record = {
        "entry": run.entry,
        "setting": run.setting,
        "seed": run.seed,
        "fold": run.fold,
        "val_accuracy": trained.best.val_accuracy,
        "epoch": trained.best.epoch,
        "loss": trained.best.loss,
        "parts": trained.best.parts,
        "seconds": time.perf_counter() - started,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "class_order": order,
        "recipe": run.distill.model_dump(),
    }
    name = bench.name_of(run)
    save_classifier(store.folder / name, trained.model, record)
    return record


def held_out_accuracy(runs: Sequence[Run], bench: ComparisonSetup, store: RunStore) -> float:
    """Mean accuracy of finished trials of one setting, each on the fold that it held out."""
    return statistics.fmean(finished(run, bench, store)["val_accuracy"] for run in runs)


def finished(run: Run, bench: ComparisonSetup, store: RunStore) -> dict[str, Any]:
    """What a run came to that must be there by now.

    Raises:
        ArtefactError: It is not.
    """
    record = store.read(bench.name_of(run))
    if record is None:
        raise ArtefactError(
            store.folder / bench.name_of(run), "is gone while the comparison runs", "run it again"
        )
    return record


@cache
def _hash_once(file: str) -> str:
    try:
        return hash_file(Path(file))
    except OSError as error:
        raise ParameterError(
            "distill.weights", f"{file} cannot be read ({error.strerror})", "name another file"
        ) from None
