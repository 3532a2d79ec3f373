"""Parameters of ``finch compare`` (``compare.yaml``)."""

from __future__ import annotations

import itertools
import math
from typing import Any

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import ParameterError, one_of
from pipeline.params.messages import explain
from pipeline.params.student import Distill
from pipeline.plugins.section import PositiveInt, Section


class CompareEntry(Section):
    """One compared method and its hyperparameter grid."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100, description="Name in the tables."
    )
    set: dict[str, Any] = Field(
        default_factory=dict, description="Fixed changes below `distill`, such as `kd.weight: 2`."
    )
    tune: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Values to try, by key below `distill`. Every combination is one setting.",
    )

    def settings(self) -> list[dict[str, Any]]:
        """All combinations of the tuned values, in the order of the lists."""
        combinations = itertools.product(*self.tune.values())
        return [dict(zip(self.tune, values, strict=True)) for values in combinations]


class Compare(Section):
    """A comparison of methods with the same student, logit cache and tuning budget."""

    entries: list[CompareEntry] = Field(min_length=1, description="The compared methods.")
    against: list[str] = Field(
        default_factory=list, description="Baselines: entries that all others are tested against."
    )
    seeds: PositiveInt = Field(3, description="Final runs per entry, with seeds 0, 1, ….")
    trials: PositiveInt = Field(4, description="Number of hyperparameter settings tried per entry.")
    folds: int = Field(
        4,
        ge=2,
        le=1000,
        description="Folds of the training split. A trial trains on all but one and is validated "
        "on the held-out fold.",
    )
    trial_folds: PositiveInt = Field(
        1,
        description="Number of folds that are held out, one after the other, for each setting. The "
        "setting with the best mean accuracy is selected. More folds reduce the variance of "
        "tuning.",
    )
    fold_block: PositiveInt = Field(5, description="Neighboring images that stay in one fold.")
    trial_epochs: PositiveInt | None = Field(
        None, description="Epochs of a trial; null: those of `distill`."
    )
    confused_pairs: PositiveInt = Field(
        10,
        description="Pairs of classes that the teacher confuses most, for which the accuracy "
        "within pairs is reported.",
    )

    @model_validator(mode="after")
    def _same_budget(self) -> Compare:
        names = [entry.name for entry in self.entries]
        if len(set(names)) != len(names):
            raise ValueError(f"entries have the same name: {', '.join(sorted(names))}")
        for entry in self.entries:
            count = math.prod(len(values) for values in entry.tune.values())
            if count != self.trials:
                raise ValueError(
                    f"entry {entry.name!r} has {count} settings, but trials is {self.trials}"
                )
        for name in self.against:
            one_of(name, names, "entry")
        if self.trial_folds > self.folds:
            raise ValueError(f"trial_folds {self.trial_folds} is larger than folds {self.folds}")
        return self

    def check_entries(self, distill: Distill) -> None:
        """Checks every setting of every entry before any training.

        Raises:
            ParameterError: An entry sets a key or value that ``distill`` does not allow.
        """
        for entry in self.entries:
            for setting in entry.settings():
                try:
                    recipe = distill.changed({**entry.set, **setting})
                except ValidationError as error:
                    problem = explain(error, type(distill), "distill.")
                    raise ParameterError(f"entry {entry.name!r}", problem) from None
                if not recipe.epochs:
                    problem = "distill.epochs is 0, so there is nothing to compare"
                    remedy = "set distill.epochs to 1 or more"
                    raise ParameterError(f"entry {entry.name!r}", problem, remedy)
