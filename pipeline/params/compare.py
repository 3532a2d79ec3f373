"""Methods on equal terms."""

from __future__ import annotations

import itertools
from typing import Any

from pydantic import Field, model_validator

from pipeline.errors import one_of
from pipeline.plugins.section import Positive, Section


class Entry(Section):
    """A method in the comparison."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", description="Name in the tables.")
    set: dict[str, Any] = Field(
        default_factory=dict, description="What it changes below `distill`, such as `kd.weight: 2`."
    )
    tune: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Values to try, by key below `distill`; all combinations are its trials.",
    )

    def settings(self) -> list[dict[str, Any]]:
        """The combinations to try, in the order of the lists."""
        return [
            dict(zip(self.tune, values, strict=True))
            for values in itertools.product(*self.tune.values())
        ]


class Compare(Section):
    """Methods on equal terms: one student, one logit cache, one budget of trials."""

    entries: list[Entry] = Field(default_factory=list, description="The methods.")
    against: list[str] = Field(
        default_factory=list, description="Entries that all others are tested against."
    )
    seeds: Positive = Field(3, description="Runs of each entry, with seeds 0, 1, … .")
    trials: Positive = Field(4, description="Settings that every entry tries, no more, no fewer.")
    folds: int = Field(
        4, ge=2, description="A trial learns from all but one of these parts of the training split."
    )
    trial_folds: Positive = Field(
        1,
        description="Folds on which each setting is tried, one after the other held out; their "
        "mean decides. More of them make tuning less of a lottery.",
    )
    fold_block: Positive = Field(5, description="Neighbouring images that stay in one fold.")
    trial_epochs: Positive | None = Field(
        None, description="Epochs of a trial; those of `distill` when null."
    )
    confused_pairs: Positive = Field(
        10, description="Pairs of classes, the teacher's most confused, judged on their own."
    )

    @model_validator(mode="after")
    def _equal_terms(self) -> Compare:
        names = [entry.name for entry in self.entries]
        if len(set(names)) != len(names):
            raise ValueError(f"entries have the same name: {', '.join(sorted(names))}")
        for entry in self.entries:
            if len(entry.settings()) != self.trials:
                raise ValueError(
                    f"entry {entry.name!r} tries {len(entry.settings())} settings, "
                    f"`trials` gives every entry {self.trials}"
                )
        for name in self.against:
            one_of(name, names, "entry")
        if self.trial_folds > self.folds:
            raise ValueError(f"trial_folds {self.trial_folds} is more than there are folds")
        return self
