"""A scout as a table and a picture: Markdown, and a page."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipeline.report.picture import Spot, plot_budget, to_svg
from pipeline.report.template import load_template

_NONE = "\N{EN DASH}"
_HEADINGS = (
    "model", "image size (px)", "multiply-adds (M)", "parameters (M)",
    "p50 (ms)", "95 % interval", "meets", "as",
)  # fmt: skip


def as_markdown(facts: dict[str, Any]) -> str:
    """The verdict, the lines for ``params.yaml``, and a row a student, in Markdown.

    Args:
        facts: What ``scout.json`` holds.
    """
    header = [*_HEADINGS, *facts["candidates"]]
    rows = [header, ["---"] * len(header)]
    rows += [[cell.replace("|", r"\|") for cell in _row(facts, s)] for s in facts["students"]]
    parts = [
        f"{facts['verdict']}.",
        f"```yaml\n{facts['lines']}```" if facts["lines"] else "",
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
        _caption(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_page(facts: dict[str, Any]) -> str:
    """The same as an HTML document that loads nothing, with a picture.

    Args:
        facts: What ``scout.json`` holds.
    """
    return load_template("scouting.html.jinja").render(
        facts=facts,
        headings=[*_HEADINGS, *facts["candidates"]],
        rows=[_row(facts, student) for student in facts["students"]],
        picture=_draw(facts),
        caption=_caption(facts),
    )


def _row(facts: dict[str, Any], student: dict[str, Any]) -> list[str]:
    timings = {timing["name"]: timing for timing in student["timings"]}
    best = timings.get(student["best"])
    return [
        student["model"],
        str(student["image_size"]),
        *(
            _NONE if student[count] is None else f"{student[count] / 1e6:.2f}"
            for count in ("multiply_adds", "parameters")
        ),
        f"{best['p50_ms']:.3f}" if best else _NONE,
        f"{best['low_ms']:.3f} to {best['high_ms']:.3f}" if best else _NONE,
        "yes" if student["meets"] else "no",
        best["name"] if best else f"cannot be measured: {student['problem']}",
        *(f"{timings[n]['p50_ms']:.3f}" if best else _NONE for n in facts["candidates"]),
    ]


def _draw(facts: dict[str, Any]) -> Markup | None:
    """None where nothing was measured."""
    spots = []
    for place, student in enumerate(facts["students"]):
        for timing in student["timings"]:
            if timing["name"] == student["best"]:
                spots.append(
                    Spot(
                        student["model"],
                        student["image_size"],
                        student["multiply_adds"],
                        timing["p50_ms"],
                        timing["low_ms"],
                        timing["high_ms"],
                        "proposed" if place == facts["proposal"]
                        else "meets" if student["meets"]
                        else "slow",
                    )
                )  # fmt: skip
    if not spots:
        return None
    figure = plot_budget(
        spots, budget_ms=facts["latency_ms"], width=1040, height=460 + 8 * max(0, len(spots) - 8)
    )
    title = (
        f"Median latency over multiply-adds of {len(spots)} untrained students, with a line at "
        f"{facts['latency_ms']:g} ms; {facts['verdict']}. The table has all figures."
    )
    return Markup(to_svg(figure, name="scout", title=title))


def _caption(facts: dict[str, Any]) -> str:
    host = facts["host"]
    runtimes = ", ".join(f"{name} {version}" for name, version in host["runtimes"].items())
    threads = "1 thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
    return (
        f"Untrained students for the {facts['data']['classes']} classes of "
        f"{facts['data']['source']}, made into the candidates of `quantize` and timed on "
        f"photographs at batch 1, {threads}: {facts['rounds']} interleaved rounds of "
        f"{facts['runs']} runs a candidate. p50 is the geometric mean of the rounds' medians, its "
        f"interval Student's over the rounds; the candidate shown is the one whose interval ends "
        f"lowest. A student meets the budget when that end is at most {facts['latency_ms']:g} ms; "
        f"the largest is the one with the most multiply-adds. How well a student learns is not "
        f"measured here. {host['cpu']}, {host['logical_cores']} cores, {runtimes}."
    )
