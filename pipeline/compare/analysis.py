"""Judges finished runs on the test split, and tests the methods against each other."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compare.confusion import accuracy_inside, most_confused
from pipeline.compare.plan import Run, trials_of
from pipeline.compare.runs import ComparisonSetup, RunStore, finished, held_out_accuracy
from pipeline.compare.statistics import holm, mcnemar, paired_seeds
from pipeline.measure.accuracy import correct, score
from pipeline.params import Compare, Distill, Entry


def judge(
    compare: Compare,
    distill: Distill,
    bench: ComparisonSetup,
    store: RunStore,
    finals: dict[str, list[Run]],
    teacher_val_logits: NDArray[np.floating],
) -> dict[str, Any]:
    """Reads the test split, once, when nothing is left to choose.

    Args:
        compare: What was compared.
        distill: The common recipe.
        bench: What the runs had in common.
        store: Where they are kept.
        finals: As ``run_comparison`` returned them.
        teacher_val_logits: [n, classes], the teacher's, of the validation split.

    Returns:
        JSON-ready: the confused pairs, and per entry its trials, runs, means and tests.
    """
    data = bench.data
    labels = data.split("test").labels
    pairs = most_confused(teacher_val_logits, data.split("val").labels, compare.confused_pairs)
    logits = {
        name: [store.test_logits(bench.name_of(run), bench) for run in runs]
        for name, runs in finals.items()
    }
    right = {name: [correct(each, labels) for each in every] for name, every in logits.items()}
    entries = []
    for entry in compare.entries:
        runs = []
        for run, answers in zip(finals[entry.name], logits[entry.name], strict=True):
            record = finished(run, bench, store)
            scored = score(answers, labels)
            runs.append(
                {
                    "seed": run.seed,
                    "val_accuracy": record["val_accuracy"],
                    "accuracy": scored.accuracy,
                    "balanced_accuracy": scored.balanced_accuracy,
                    "inside_pairs": accuracy_inside(answers, labels, pairs),
                    "epoch": record["epoch"],
                    "seconds": record["seconds"],
                    "class_order": record["class_order"],
                }
            )
        entries.append(
            {
                "name": entry.name,
                "set": entry.set,
                "setting": finals[entry.name][0].setting,
                "trials": _trials(entry, distill, compare, bench, store),
                "runs": runs,
                **{
                    figure: _mean_and_deviation([run[figure] for run in runs])
                    for figure in ("accuracy", "balanced_accuracy", "inside_pairs", "seconds")
                },
            }
        )
    for rival in compare.against:
        _test_against(rival, entries, right)
    return {
        "confused_pairs": [[data.classes[a], data.classes[b]] for a, b in pairs],
        "test_images": len(labels),
        "entries": entries,
    }


def _test_against(
    rival: str, entries: list[dict[str, Any]], right: dict[str, list[NDArray[np.bool_]]]
) -> None:
    """Adds to every other entry how it stands to the rival."""
    others = [entry for entry in entries if entry["name"] != rival]
    of_rival = next(entry for entry in entries if entry["name"] == rival)
    tests = [
        paired_seeds(
            [run["accuracy"] for run in entry["runs"]],
            [run["accuracy"] for run in of_rival["runs"]],
        )
        for entry in others
    ]
    for entry, test, corrected in zip(others, tests, holm([t.p for t in tests]), strict=True):
        images = [
            mcnemar(ours, theirs)
            for ours, theirs in zip(right[entry["name"]], right[rival], strict=True)
        ]
        entry.setdefault("against", {})[rival] = {
            **asdict(test),
            "p_holm": corrected,
            "mcnemar": images,
        }


def _trials(
    entry: Entry, distill: Distill, compare: Compare, bench: ComparisonSetup, store: RunStore
) -> list[dict[str, Any]]:
    return [
        {"setting": runs[0].setting, "accuracy": held_out_accuracy(runs, bench, store)}
        for runs in trials_of(entry, distill, compare)
    ]


def _mean_and_deviation(values: list[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "deviation": statistics.stdev(known) if len(known) > 1 else None,
    }
