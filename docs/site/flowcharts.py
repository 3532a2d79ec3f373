"""MkDocs hook: Mermaid flowcharts become drawings in the page, without a script.

GitHub draws them itself. For the site, this draws the part of Mermaid that the pages use: one node
or one chain of arrows a line, from top to bottom so that a chain fits on a phone.
"""

from __future__ import annotations

import html
import re
from itertools import pairwise

BOX_HEIGHT, GAP, SPACE = 34, 26, 24
_FENCE = re.compile(r"^```mermaid\nflowchart \w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NODE = re.compile(r'(\w+)\["(.+)"\]')


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replaces the flowcharts of a page by drawings (SVG)."""
    return _FENCE.sub(lambda match: draw(match[1]), markdown)


def draw(text: str) -> str:
    """The drawing of a flowchart, as one element of HTML.

    Args:
        text: Lines ``a["label"]`` or ``a --> b --> c``.
    """
    labels, arrows = _parse(text)
    rows = _rows(labels, arrows)
    widths = {node: round(7.6 * len(label)) + 24 for node, label in labels.items()}
    spans = [sum(widths[node] for node in row) + SPACE * (len(row) - 1) for row in rows]
    total, boxes = max(spans) + 2, {}
    for y, (row, span) in enumerate(zip(rows, spans, strict=True)):
        x = (total - span) / 2
        for node in row:
            boxes[node] = (x, 1 + y * (BOX_HEIGHT + GAP), widths[node])
            x += widths[node] + SPACE
    shapes = [_arrow(boxes[a], boxes[b]) for a, b in arrows]
    shapes += [_box(*boxes[node], label) for node, label in labels.items()]
    height = len(rows) * (BOX_HEIGHT + GAP) - GAP + 2
    told = html.escape("; ".join(f"{a} to {b}" for a, b in arrows))
    return (
        f'<svg class="flowchart" role="img" aria-label="Flowchart: {told}" '
        f'viewBox="0 0 {total} {height}" width="{total}" height="{height}">{"".join(shapes)}</svg>'
    )


def _parse(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Labels of the nodes, and arrows."""
    labels: dict[str, str] = {}
    arrows: list[tuple[str, str]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if node := _NODE.fullmatch(line):
            labels[node[1]] = node[2]
            continue
        chain = line.split(" --> ")
        if len(chain) < 2 or not all(name.isidentifier() for name in chain):
            raise ValueError(f"{line!r} is neither a node nor a chain of arrows")
        for name in chain:
            labels.setdefault(name, name)
        arrows += pairwise(chain)
    return labels, arrows


def _rows(labels: dict[str, str], arrows: list[tuple[str, str]]) -> list[list[str]]:
    """Nodes by row: below all nodes that have an arrow to them, and as low as possible."""
    before: dict[str, set[str]] = {node: {a for a, b in arrows if b == node} for node in labels}
    row: dict[str, int] = {}
    while len(row) < len(labels):
        ready = [n for n in labels if n not in row and before[n] <= row.keys()]
        if not ready:
            raise ValueError("the arrows form a circle")
        for node in ready:
            row[node] = 1 + max((row[each] for each in before[node]), default=-1)
    for node in labels:
        if not before[node]:
            row[node] = min(row[b] for a, b in arrows if a == node) - 1
    return [[n for n in labels if row[n] == y] for y in range(max(row.values()) + 1)]


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    x, y = start[0] + start[2] / 2, start[1] + BOX_HEIGHT
    to_x, to_y = end[0] + end[2] / 2, end[1]
    head = f"M{to_x - 4:g} {to_y - 7:g}L{to_x:g} {to_y:g}L{to_x + 4:g} {to_y - 7:g}"
    middle = (y + to_y) / 2
    curve = f"C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {to_y:g}"
    return f'<path d="M{x:g} {y:g}{curve}{head}"/>'


def _box(x: float, y: float, width: float, label: str) -> str:
    place = f'x="{x + width / 2:g}" y="{y + BOX_HEIGHT / 2 + 5:g}"'
    box = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{BOX_HEIGHT}" rx="6"/>'
    return f"{box}<text {place}>{html.escape(label)}</text>"
