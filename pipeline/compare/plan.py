"""The training runs that a comparison consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.params import Compare, CompareEntry, Distill


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


def trials_of(entry: CompareEntry, compare: Compare, distill: Distill) -> list[list[Run]]:
    """The tuning runs of an entry: for each setting, one run per held-out fold."""
    epochs = {"epochs": compare.trial_epochs} if compare.trial_epochs else {}
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

    A random class order differs between seeds, so that the result is not that of one order.
    """
    recipe = distill.changed({**entry.set, **setting})
    is_random = recipe.class_order.kind == "random"
    recipes = [
        recipe.changed({"class_order.seed": seed}) if is_random else recipe
        for seed in range(compare.seeds)
    ]
    return [Run(entry.name, dict(setting), r, seed, None) for seed, r in enumerate(recipes)]
