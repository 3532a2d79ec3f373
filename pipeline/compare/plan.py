"""Which runs a comparison consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.files import hash_value
from pipeline.logit_cache import CacheKey
from pipeline.params import Compare, Distill, Entry


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        entry: Name of the method.
        setting: What the entry tries, by key below ``distill``.
        distill: The recipe with everything put in.
        seed: Of initial weights and batches.
        fold: The part of the training split that is held out and judged; None for a final run,
            which learns from all of it.
    """

    entry: str
    setting: dict[str, Any]
    distill: Distill
    seed: int
    fold: int | None

    def key(
        self, cache: CacheKey, folds: Sequence[Sequence[int]], first_weights: str | None = None
    ) -> str:
        """Names the outcome: the same for two runs only if they would train the same weights.

        Args:
            cache: Of the logits that are distilled; it stands for teacher, data and views.
            folds: Images per fold.
            first_weights: SHA-256 of the file that the student starts from, if it does.
        """
        held_out = None if self.fold is None else list(folds[self.fold])
        # A file counts by what is in it, wherever it lies.
        recipe = {**_bearing(self.distill), "weights": first_weights}
        return hash_value([vars(cache), recipe, self.seed, held_out])


def trials_of(entry: Entry, distill: Distill, compare: Compare) -> list[list[Run]]:
    """The tuning of an entry: each of its settings, on the same folds with the same seed.

    Returns:
        Per setting, a run for each fold that is held out.
    """
    epochs = {"epochs": compare.trial_epochs} if compare.trial_epochs else {}
    trials = []
    for setting in entry.settings():
        recipe = distill.changed({**entry.set, **setting, **epochs})
        folds = range(compare.trial_folds)
        trials.append([Run(entry.name, setting, recipe, 0, fold) for fold in folds])
    return trials


def finals_of(
    entry: Entry, setting: Mapping[str, Any], distill: Distill, compare: Compare
) -> list[Run]:
    """The runs that count, one a seed, with the setting that tuning chose.

    A random class order is another one with every seed: what is judged is not one lucky order.
    """
    recipe = distill.changed({**entry.set, **setting})
    recipes = [
        recipe.changed({"class_order.seed": seed})
        if recipe.class_order.kind == "random"
        else recipe
        for seed in range(compare.seeds)
    ]
    return [Run(entry.name, dict(setting), r, seed, None) for seed, r in enumerate(recipes)]


def _bearing(distill: Distill) -> dict[str, Any]:
    """The recipe without the options of the methods that it does not use."""
    recipe = distill.model_dump()
    methods = Distill.model_fields["method"].annotation.__args__  # type: ignore[union-attr]
    unused = set(methods) - {distill.method}
    return {key: value for key, value in recipe.items() if key not in unused}
