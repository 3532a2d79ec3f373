"""The Markdown page of all parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .finding import Finding
from .running import Outcome


def as_markdown(
    titles: Mapping[str, str], outcomes: Sequence[Outcome], facts: Mapping[str, str]
) -> str:
    """A list of the facts, and one table with a row per finding.

    Args:
        titles: Title of every part, by name.
        outcomes: The parts that have run so far.
        facts: Hardware, versions and options.
    """
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", "| part | what | result | target | met |", "|---|---|---|---|---|"]
    for outcome in outcomes:
        title = titles[outcome.part]
        lines += [_row(title, found) for found in outcome.findings]
        lines.append(_cells(f"**{title}**", "the part as a whole", _ending(outcome), "", ""))
    return "\n".join(lines) + "\n"


def _row(title: str, found: Finding) -> str:
    met = {None: "", True: "yes", False: "**no**"}[found.met]
    return _cells(title, found.what, shown(found), found.target, met)


def _ending(outcome: Outcome) -> str:
    time = f"{outcome.seconds:.0f} s of {outcome.limit:.0f} s"
    if outcome.status == "done":
        return f"{'done' if outcome.good else 'done, a target is not met'} in {time}"
    if outcome.status == "failed":
        return f"**failed** after {time}: {outcome.problem}"
    return f"**ended by its time limit** after {time}; later measurements are missing"


def shown(found: Finding) -> str:
    """The value with its range and unit."""
    if isinstance(found.value, str):
        return found.value
    text = _number(found.value)
    if found.low is not None and found.high is not None:
        text += f" ({_number(found.low)} to {_number(found.high)})"
    return f"{text} {found.unit}".rstrip()


def _number(value: float) -> str:
    """Three significant digits, without an exponent for what people read as a plain number."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
