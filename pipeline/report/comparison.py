"""A comparison as tables: Markdown, a page, and a row a run."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.files import whole_file
from pipeline.report.template import load_template

_NONE = "\N{EN DASH}"


def as_markdown(facts: dict[str, Any]) -> str:
    """The table of means and tests, and what the figures are of, in Markdown.

    Args:
        facts: What ``compare.json`` holds.
    """
    rivals = _rivals(facts)
    header = ["method", "setting", "accuracy", "balanced", "inside pairs"]
    header += [column for rival in rivals for column in (f"to {rival}", "p (Holm)", "McNemar p")]
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    for entry in facts["entries"]:
        cells = [
            entry["name"],
            _setting(entry),
            *(_spread(entry[f]) for f in ("accuracy", "balanced_accuracy", "inside_pairs")),
        ]
        for rival in rivals:
            cells += _test(entry.get("against", {}).get(rival))
        lines.append(" | ".join(cells))
    table = "\n".join(f"| {line} |" for line in lines)
    return f"{table}\n\n{_caption(facts)}\n"


def as_page(facts: dict[str, Any]) -> str:
    """The same as an HTML document that loads nothing, with the trials and orders beside it.

    Args:
        facts: What ``compare.json`` holds.
    """
    filters: dict[str, Callable[..., Any]] = {
        "percent": lambda share: f"{100 * share:.1f}",
        "spread": _spread,
        "setting": _setting,
        "test": _test,
        "pairs": _pairs,
    }
    return load_template("comparison.html.jinja", filters).render(
        facts=facts, rivals=_rivals(facts), caption=_caption(facts)
    )


def write_runs(path: Path, facts: dict[str, Any]) -> None:
    """A row a final run: small, and all that the table is made from."""
    figures = ("val_accuracy", "accuracy", "balanced_accuracy", "inside_pairs", "seconds")
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["entry", "setting", "seed", *figures])
        for entry in facts["entries"]:
            for run in entry["runs"]:
                values = ["" if run[f] is None else f"{run[f]:.6g}" for f in figures]
                writer.writerow([entry["name"], _setting(entry), run["seed"], *values])


def _rivals(facts: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(r for entry in facts["entries"] for r in entry.get("against", {})))


def _setting(entry: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in entry["setting"].items()) or _NONE


def _spread(figure: dict[str, float | None]) -> str:
    if figure["mean"] is None:
        return _NONE
    mean = f"{100 * figure['mean']:.1f}"
    return mean if figure["deviation"] is None else f"{mean} ± {100 * figure['deviation']:.1f}"


def _test(test: dict[str, Any] | None) -> list[str]:
    """Difference with its interval, p over seeds, median p over images."""
    if test is None:
        return [_NONE, _NONE, _NONE]
    difference = f"{100 * test['difference']:+.1f}"
    if test["low"] is not None:
        difference += f" ({100 * test['low']:+.1f} to {100 * test['high']:+.1f})"
    by_seed = sorted(test["mcnemar"])
    return [difference, _p(test["p_holm"]), _p(by_seed[len(by_seed) // 2])]


def _p(value: float | None) -> str:
    if value is None:
        return _NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _pairs(pairs: list[list[str]]) -> str:
    return "; ".join(f"{a} / {b}" for a, b in pairs)


def _caption(facts: dict[str, Any]) -> str:
    recipe, host = facts["recipe"], facts["host"]
    seeds = len(facts["entries"][0]["runs"])
    return (
        f"Percent of {facts['test_images']} test images of {facts['data']['source']}, mean ± "
        f"standard deviation over {seeds} seeds; student {recipe['model']}, {recipe['epochs']} "
        f"epochs; the teacher, {facts['teacher']['model']}, has "
        f"{100 * facts['teacher']['accuracy']:.1f}. Differences are of paired seeds, with a 95 % t "
        f"interval; p is of the paired t test, by Holm corrected for the methods of the column; "
        f"McNemar p is the median over the seeds. Inside pairs: two-way decisions between the "
        f"classes that the teacher confuses most ({_pairs(facts['confused_pairs'])}). "
        f"{host['cpu']}, {host['logical_cores']} cores, torch {facts['torch']}."
    )
