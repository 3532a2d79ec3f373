"""The comparison of distillation methods as Markdown, as an HTML page, and as a CSV file."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.files import atomic_file
from pipeline.report.charts import DotRow, Estimate, Panel, dot_plot
from pipeline.report.document import Block, Page, Section, blocks
from pipeline.report.formats import DASH, percent, plural
from pipeline.report.table import Column, Table, make_table


def as_markdown(facts: dict[str, Any]) -> str:
    """The results of ``compare.json`` in Markdown."""
    return f"{_results(facts).markdown()}\n\n{_caption(facts)}\n"


def as_page(facts: dict[str, Any]) -> str:
    """Results, tuning trials and runs of ``compare.json`` as a self-contained HTML page."""
    title = f"Distillation methods on {facts['data']['source']}"
    tuning = (
        "Every method was tuned with the same number of trials on the same held-out part of the "
        "training split. The hyperparameters with the best held-out accuracy were used."
    )
    return Page(
        kicker="Comparison",
        heading=title,
        intro=[_chart(facts), _results(facts), _caption(facts)],
        sections=[
            Section("tuning", "Tuning", [tuning, _trials(facts)]),
            Section("runs", "Runs", [_runs(facts)]),
        ],
    ).render()


def write_runs(path: Path, facts: dict[str, Any]) -> None:
    """Writes the final runs, from which the table of results is computed, as CSV."""
    figures = ("val_accuracy", "accuracy", "balanced_accuracy", "inside_pairs", "seconds")
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["entry", "setting", "seed", *figures])
        for run in _rows(facts, "runs"):
            values = ["" if run[f] is None else f"{run[f]:.6g}" for f in figures]
            writer.writerow([run["name"], _setting(run), run["seed"], *values])


def _rows(facts: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The trials or runs of all entries, each with the name and the setting of its entry."""
    return [{**entry, **item} for entry in facts["entries"] for item in entry[key]]


def _results(facts: dict[str, Any]) -> Table:
    columns: list[Column[dict[str, Any]]] = [
        Column("Method", lambda entry: entry["name"], numeric=False),
        Column("Hyperparameters", _setting, numeric=False),
        Column("Accuracy", lambda entry: _mean(entry["accuracy"])),
        Column("Balanced accuracy", lambda entry: _mean(entry["balanced_accuracy"])),
        Column("Accuracy in confused pairs", lambda entry: _mean(entry["inside_pairs"])),
    ]
    entries = facts["entries"]
    for baseline in dict.fromkeys(name for entry in entries for name in entry.get("against", {})):
        headings = (f"vs. {baseline}", "p (Holm)", "McNemar p")
        columns += [Column(each, partial(_test, baseline, at)) for at, each in enumerate(headings)]
    return make_table("Results", entries, columns)


def _chart(facts: dict[str, Any]) -> Block:
    """A dot plot with one line per method, most accurate first."""

    def spread(figure: dict[str, float | None]) -> Estimate:
        mean, deviation = 100 * (figure["mean"] or 0), 100 * (figure["deviation"] or 0)
        return Estimate(mean, mean - deviation, mean + deviation)

    entries = sorted(facts["entries"], key=lambda entry: -entry["accuracy"]["mean"])
    panels = [Panel("Accuracy\n(%)"), Panel("Balanced accuracy\n(%)")]
    figures = ("accuracy", "balanced_accuracy")
    rows = [
        DotRow(entry["name"], "accepted", [spread(entry[figure]) for figure in figures])
        for entry in entries
    ]
    title = (
        f"Accuracy and balanced accuracy of {len(rows)} methods on the test images. "
        f"{rows[0].name} is the most accurate, with {rows[0].estimates[0].value:.1f} %. The table "
        "lists all values."
    )
    caption = "Horizontal lines: standard deviation over the seeds, to either side of the mean."
    return blocks.figure(dot_plot(rows, panels, name="methods", title=title), caption)


def _trials(facts: dict[str, Any]) -> Table:
    return make_table(
        "Tuning",
        _rows(facts, "trials"),
        [
            Column("Method", lambda row: row["name"], numeric=False),
            Column("Hyperparameters", _setting, numeric=False),
            Column("Held-out accuracy", lambda row: percent(row["accuracy"]), "%"),
        ],
    )


def _runs(facts: dict[str, Any]) -> Table:
    return make_table(
        "Runs",
        _rows(facts, "runs"),
        [
            Column("Method", lambda row: row["name"], numeric=False),
            Column("Seed", lambda row: str(row["seed"])),
            Column("Validation accuracy", lambda row: percent(row["val_accuracy"]), "%"),
            Column("Test accuracy", lambda row: percent(row["accuracy"]), "%"),
            Column("Balanced accuracy", lambda row: percent(row["balanced_accuracy"]), "%"),
            Column("Training time", lambda row: f"{row['seconds']:.0f}", "s"),
        ],
    )


def _setting(entry: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in entry["setting"].items()) or DASH


def _mean(figure: dict[str, float | None]) -> str:
    mean, deviation = figure["mean"], figure["deviation"]
    return percent(mean) if deviation is None else f"{percent(mean)} ± {percent(deviation)}"


def _test(baseline: str, at: int, entry: dict[str, Any]) -> str:
    """Difference with its interval (``at`` 0), p over seeds (1), or median p over images (2)."""
    test = entry.get("against", {}).get(baseline)
    if test is None:
        return DASH
    difference = f"{100 * test['difference']:+.1f}"
    if test["low"] is not None:
        difference += f" ({100 * test['low']:+.1f} to {100 * test['high']:+.1f})"
    by_seed = sorted(test["mcnemar"])
    return (difference, _p(test["p_holm"]), _p(by_seed[len(by_seed) // 2]))[at]


def _p(value: float | None) -> str:
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _caption(facts: dict[str, Any]) -> str:
    recipe, host, teacher = facts["recipe"], facts["host"], facts["teacher"]
    pairs = "; ".join(f"{a} / {b}" for a, b in facts["confused_pairs"])
    return (
        f"Accuracy in % on {plural(facts['test_images'], 'test image')} of "
        f"{facts['data']['source']}, mean ± standard deviation over "
        f"{plural(len(facts['entries'][0]['runs']), 'seed')}. Student: {recipe['model']}, "
        f"{plural(recipe['epochs'], 'epoch')}. Teacher: {teacher['model']}, accuracy "
        f"{percent(teacher['accuracy'])} %. Differences are paired by seed, with 95 % t intervals. "
        "p: paired t test, Holm-corrected for the methods in the column. McNemar p: median over "
        "the seeds. Accuracy in confused pairs: binary decisions between the classes that the "
        f"teacher confuses most ({pairs}). {host['cpu']}, {host['logical_cores']} cores, torch "
        f"{facts['torch']}."
    )
