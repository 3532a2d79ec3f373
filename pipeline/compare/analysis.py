"""Evaluates finished runs on the test split, and tests the methods against baselines."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pipeline.compare.runs import ComparisonSetup, Run, RunStore, held_out_accuracy, trials_of
from pipeline.measure.accuracy import correct, score
from pipeline.statistics import holm, mcnemar, paired_t_test


def analyze(
    setup: ComparisonSetup,
    store: RunStore,
    finals: dict[str, list[Run]],
    teacher_val_logits: NDArray[np.floating],
) -> dict[str, Any]:
    """Evaluates the final runs of every entry on the test split.

    ``teacher_val_logits``, [n, classes], are the teacher's logits on the validation split.

    Returns:
        JSON value: the confused pairs, and for each entry its trials, runs, means and tests.
    """
    data, compare = setup.data, setup.compare
    labels = data.split("test").labels
    pairs = most_confused(teacher_val_logits, data.split("val").labels, compare.confused_pairs)
    entries, is_correct = [], {}
    for entry in compare.entries:
        keys = [setup.key_of(run) for run in finals[entry.name]]
        logits = [store.test_logits(key, setup) for key in keys]
        is_correct[entry.name] = [correct(each, labels) for each in logits]
        runs = [
            _metrics_of(store.record(key), each, labels, pairs)
            for key, each in zip(keys, logits, strict=True)
        ]
        entries.append(
            {
                "name": entry.name,
                "set": entry.set,
                "setting": finals[entry.name][0].setting,
                "trials": [
                    {"setting": t[0].setting, "accuracy": held_out_accuracy(t, setup, store)}
                    for t in trials_of(entry, compare, setup.distill)
                ],
                "runs": runs,
                **{
                    metric: _mean_and_deviation([run[metric] for run in runs])
                    for metric in ("accuracy", "balanced_accuracy", "inside_pairs", "seconds")
                },
            }
        )
    for baseline in compare.against:
        _test_against(baseline, entries, is_correct)
    return {
        "confused_pairs": [[data.classes[a], data.classes[b]] for a, b in pairs],
        "test_images": len(labels),
        "entries": entries,
    }


def most_confused(
    logits: NDArray[np.floating], labels: NDArray[np.int64], count: int
) -> list[tuple[int, int]]:
    """The ``count`` pairs of classes (a < b) that the teacher confuses most, in descending order.

    They are ranked by the mean probability of the other class, not by the number of errors, which
    is small on few images. ``logits`` are [n, classes], ``labels`` int64 [n].
    """
    classes = logits.shape[1]
    probabilities = np.zeros((classes, classes))
    np.add.at(probabilities, labels, softmax(logits.astype(np.float64), axis=1))
    probabilities /= np.maximum(np.bincount(labels, minlength=classes), 1)[:, None]
    a, b = np.triu_indices(classes, k=1)
    confusion = probabilities[a, b] + probabilities[b, a]
    largest = np.argsort(-confusion, kind="stable")[:count]
    return [(int(a[i]), int(b[i])) for i in largest]


def accuracy_in_pairs(
    logits: NDArray[np.floating], labels: NDArray[np.int64], pairs: list[tuple[int, int]]
) -> float | None:
    """Accuracy of the binary decisions between the two classes of each pair.

    An image counts once for every pair that contains its class. None if there is no such image.
    ``logits`` are [n, classes], ``labels`` int64 [n].
    """
    is_correct = []
    for pair in pairs:
        selected = np.isin(labels, pair)
        if selected.any():
            binary = logits[selected][:, list(pair)]
            is_correct.append(correct(binary, (labels[selected] == pair[1]).astype(np.int64)))
    return float(np.concatenate(is_correct).mean()) if is_correct else None


def _metrics_of(
    record: dict[str, Any], logits: NDArray[Any], labels: NDArray[Any], pairs: list[tuple[int, int]]
) -> dict[str, Any]:
    accuracy = score(logits, labels)
    kept = ("seed", "val_accuracy", "epoch", "seconds", "class_order")
    return {
        **{name: record[name] for name in kept},
        "accuracy": accuracy.accuracy,
        "balanced_accuracy": accuracy.balanced_accuracy,
        "inside_pairs": accuracy_in_pairs(logits, labels, pairs),
    }


def _test_against(
    baseline: str, entries: list[dict[str, Any]], is_correct: dict[str, list[NDArray[np.bool_]]]
) -> None:
    """Adds the tests against a baseline to every other entry."""
    others = [entry for entry in entries if entry["name"] != baseline]
    reference = next(entry for entry in entries if entry["name"] == baseline)
    by_seed = [run["accuracy"] for run in reference["runs"]]
    tests = [paired_t_test([run["accuracy"] for run in e["runs"]], by_seed) for e in others]
    for entry, test, corrected in zip(others, tests, holm([t.p for t in tests]), strict=True):
        pairs = zip(is_correct[entry["name"]], is_correct[baseline], strict=True)
        entry.setdefault("against", {})[baseline] = {
            **asdict(test),
            "p_holm": corrected,
            "mcnemar": [mcnemar(method, other) for method, other in pairs],
        }


def _mean_and_deviation(values: list[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "deviation": statistics.stdev(known) if len(known) > 1 else None,
    }
