"""The training runs of a comparison, and the store of their results."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.code_fingerprint import code_fingerprint
from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtifactError, ParameterError
from pipeline.files import atomic_file, hash_file, hash_value, open_array, read_json
from pipeline.losses import build_loss
from pipeline.losses.figkd.class_order import order_classes
from pipeline.models.classifier import load_classifier, save_classifier
from pipeline.models.pretrained import init_classifier
from pipeline.models.weights_files import weights_files
from pipeline.models.zoo import library_versions
from pipeline.params import Compare, CompareEntry, Distill, Views
from pipeline.plugins import LOSSES
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment, TrainingTask
from pipeline.training.teacher import CachedTeacher
from pipeline.training.unlabelled import open_unlabelled
from pipeline.training.validation import compute_logits


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        entry: Name of the method's entry.
        setting: Tuned values, by key below ``distill``.
        distill: The complete recipe.
        seed: Seed of initial weights and batches.
        fold: Fold of the training split that is held out for validation; None for a final run,
            which trains on the whole split.
    """

    entry: str
    setting: dict[str, Any]
    distill: Distill
    seed: int
    fold: int | None


@dataclass(frozen=True)
class ComparisonSetup:
    """Data and settings that all runs share.

    Attributes:
        compare: Entries and tuning budget.
        distill: Recipe that the entries change.
        data: The prepared splits.
        teacher: Cached logits of the training split and of the images without labels, and their
            views if they are packed.
        head_weights: Returns the weights of the teacher's classifier layer, [classes, features].
        cache_sha256: SHA-256 of ``cache.json``; it identifies teacher, data, views and logits.
        views: Augmentation of the cached views.
        folds: Indices into the training split, per fold.
        device: Training device.
    """

    compare: Compare
    distill: Distill
    data: PreparedData
    teacher: CachedTeacher
    head_weights: Callable[[], NDArray[np.floating]]
    cache_sha256: str
    views: Views
    folds: list[NDArray[np.int64]]
    device: torch.device

    def key_of(self, run: Run) -> str:
        """Hash of everything that determines the weights of the run.

        Raises:
            ParameterError: The file of initial weights cannot be read.
        """
        # The options of other methods have no effect.
        unused = set(LOSSES.names()) - {run.distill.method}
        recipe = {k: v for k, v in run.distill.model_dump().items() if k not in unused}
        # The content of the files of initial weights and of their class names, not the paths.
        recipe["weights"] = [_hash_once(str(file)) for file in weights_files(run.distill)]
        recipe["class_names"] = run.distill.class_names is not None
        held_out = None if run.fold is None else self.folds[run.fold].tolist()
        environment = [library_versions(), self.device.type]
        code = _code_once(run.distill.method)
        return hash_value([self.cache_sha256, recipe, run.seed, held_out, environment, code])


@dataclass(frozen=True)
class RunStore:
    """Finished runs, one folder per key. A finished run is never trained again."""

    folder: Path

    def is_finished(self, key: str) -> bool:
        """Whether the run is finished."""
        return (self.folder / key / "model.json").is_file()

    def record(self, key: str) -> dict[str, Any]:
        """The record of a finished run, see ``train_run``.

        Raises:
            ArtifactError: The run is not finished.
        """
        if not self.is_finished(key):
            raise ArtifactError(self.folder / key, "was deleted", "run the comparison again")
        return read_json(self.folder / key / "model.json")

    def lock(self, key: str, *, wait: bool) -> AbstractContextManager[object] | None:
        """Locks a run against other processes; the lock of a killed process is released.

        Returns:
            Context that unlocks it; None if another process holds the lock and ``wait`` is false.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder / f"{key}.lock")
        try:
            return lock.acquire(timeout=-1 if wait else 0)
        except filelock.Timeout:
            return None

    def test_logits(self, key: str, setup: ComparisonSetup) -> NDArray[np.float32]:
        """The run's logits on the test split, float32 [n, classes]; computed once.

        Raises:
            ArtifactError: The run is not finished, or a file is damaged.
        """
        path = self.folder / key / "test_logits.npy"
        if not path.is_file():
            model, _ = load_classifier(self.folder / key, setup.device)
            test = setup.data.split("test", model.spec.image_size)
            logits = compute_logits(model, test, setup.device)
            with atomic_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, logits)
        return open_array(path)


def trials_of(entry: CompareEntry, compare: Compare, distill: Distill) -> list[list[Run]]:
    """The tuning runs of an entry: for each setting, one run per held-out fold."""
    epochs = {"epochs": compare.trial_epochs, "steps": {}} if compare.trial_epochs else {}
    trials = []
    for setting in entry.settings():
        recipe = distill.changed({**entry.set, **setting, **epochs})
        runs = [Run(entry.name, setting, recipe, 0, fold) for fold in range(compare.trial_folds)]
        trials.append(runs)
    return trials


def finals_of(
    entry: CompareEntry, setting: Mapping[str, Any], compare: Compare, distill: Distill
) -> list[Run]:
    """The final runs of an entry with its selected setting, one per seed.

    A random class order differs between the seeds.
    """
    recipe = distill.changed({**entry.set, **setting})
    is_random = recipe.class_order.kind == "random"
    recipes = [
        recipe.changed({"class_order.seed": seed}) if is_random else recipe
        for seed in range(compare.seeds)
    ]
    return [Run(entry.name, dict(setting), r, seed, None) for seed, r in enumerate(recipes)]


def train_run(run: Run, setup: ComparisonSetup, store: RunStore) -> dict[str, Any]:
    """Trains a run, stores its weights, and returns its record, the content of ``model.json``.

    A trial is validated on the held-out fold, a final run on the validation split. The test split
    is not read.

    Raises:
        TrainingError: The loss is not finite.
    """
    data, recipe, folds = setup.data, run.distill, setup.folds
    train_split, size = data.split("train"), data.size_at(recipe.image_size)
    if run.fold is None:
        indices, val_split = None, data.split("val", size)
    else:
        indices = np.sort(np.concatenate([f for k, f in enumerate(folds) if k != run.fold]))
        val_split = data.split("train", size).select(folds[run.fold])
    labels, logits = train_split.labels, setup.teacher.logits[:, : len(train_split)]
    order = order_classes(
        recipe.class_order, labels, logits, classes=data.classes, head=setup.head_weights
    )
    loss = build_loss(recipe, len(data.classes), order)
    torch.manual_seed(run.seed)
    started = time.perf_counter()
    unlabelled = open_unlabelled(data, recipe, setup.teacher.logits)
    task = TrainingTask(
        recipe,
        loss,
        train_split,
        val_split,
        setup.views,
        setup.teacher,
        indices,
        unlabelled=unlabelled,
    )
    student = init_classifier(recipe, data.classes, size, data.channels).model
    result = train(student, task, TrainingEnvironment(setup.device, run.seed))
    record = {
        "entry": run.entry,
        "setting": run.setting,
        "seed": run.seed,
        "fold": run.fold,
        "val_accuracy": result.best.val_accuracy,
        "epoch": result.best.epoch,
        "loss": result.best.loss,
        "seconds": time.perf_counter() - started,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "class_order": order,
        "recipe": recipe.model_dump(),
    }
    save_classifier(store.folder / setup.key_of(run), result.model, record)
    return record


def held_out_accuracy(runs: Sequence[Run], setup: ComparisonSetup, store: RunStore) -> float:
    """Mean accuracy of the finished trials of one setting on their held-out folds."""
    return statistics.fmean(store.record(setup.key_of(run))["val_accuracy"] for run in runs)


@cache
def _code_once(method: str) -> str:
    return code_fingerprint(__name__, LOSSES[method])


@cache
def _hash_once(file: str) -> str:
    try:
        return hash_file(Path(file))
    except (ArtifactError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.problem
        problem = f"{file} cannot be read ({reason})"
        raise ParameterError("distill.weights", problem, "check the path") from None
