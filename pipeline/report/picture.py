"""The report's pictures: SVG that takes its colours and its typeface from the page around it.

One drawing unit is one pixel of the page (72 dots per inch). The same figures give the same bytes.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator
from matplotlib.transforms import IdentityTransform

from pipeline.report.labels import Box, Label, Place, Side, arrange

# Each stands for a colour of the page; `to_svg` puts the page's variable in its place.
_INK, _MUTED, _LINE, _ACCENT, _PAPER = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_INK: "ink", _MUTED: "muted", _LINE: "line", _ACCENT: "accent", _PAPER: "paper"}

_STYLE = {
    # Wider than the typefaces of pages: labels that do not overlap in it do not overlap there.
    "font.family": ["DejaVu Sans"],
    "font.size": 12,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "figure.facecolor": "none",
    "figure.dpi": 72,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "svg.fonttype": "none",
}

_LOG_FROM = 3  # the largest latency over the smallest from which on the axis is logarithmic
_SMALLEST, _LARGEST = 9.0, 28.0  # diameters of points


@dataclass(frozen=True)
class Point:
    """One model of the picture.

    Attributes:
        name: Its label.
        p50_ms: Median latency in milliseconds.
        accuracy: In percent.
        bytes: Size of its files.
        kind: What it is, which decides how it is drawn.
    """

    name: str
    p50_ms: float
    accuracy: float
    bytes: int
    kind: Literal["shipped", "accepted", "rejected", "teacher"]


@dataclass(frozen=True)
class Spot:
    """One student of the picture of a scout.

    Attributes:
        model: Name of the network.
        image_size: Side of its images in pixels.
        multiply_adds: Of one image.
        p50_ms: Median latency in milliseconds.
        low_ms: Lower end of its interval.
        high_ms: Upper end of it.
        kind: What it is, which decides how it is drawn.
    """

    model: str
    image_size: int
    multiply_adds: int
    p50_ms: float
    low_ms: float
    high_ms: float
    kind: Literal["proposed", "meets", "slow"]


def plot_tradeoff(
    points: Sequence[Point], *, floor: float, floor_label: str, width: int, height: int
) -> Figure:
    """Accuracy over latency, a labelled point per model; the larger its file, the larger it is.

    Args:
        points: The models.
        floor: Lowest accepted accuracy, in percent.
        floor_label: What the line at ``floor`` says.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
    """
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasAgg(figure)  # measures texts
        axes = _axes(figure, left=48, right=12, bottom=44, top=8)
        _set_wide_axis(axes, "x", [point.p50_ms for point in points])
        _set_accuracy_axis(axes, [floor, *(point.accuracy for point in points)])
        axes.set_xlabel("latency, p50 at batch 1 (ms)")
        axes.set_ylabel("accuracy on the validation images (%)")
        axes.axhline(floor, color=_MUTED, linewidth=1, dashes=(5, 4))

        # The one that ships comes first to the best place for a label, and lies on top of others.
        points = sorted(points, key=lambda p: (p.kind != "shipped", p.bytes, p.name))
        largest = max(point.bytes for point in points)
        labels = []
        for depth, point in enumerate(points):
            diameter = max(_SMALLEST, _LARGEST * math.sqrt(point.bytes / largest))
            _draw_point(axes, point, diameter, depth)
            x, y = axes.transData.transform((point.p50_ms, point.accuracy))
            labels.append(Label(x, y, diameter / 2, *_text_size(axes, *_wording(point))))
        floor_text = _label_floor(axes, floor, floor_label, [label.point for label in labels])
        frame = Box(*axes.get_window_extent().extents)
        y = axes.transData.transform((1, floor))[1]
        places = arrange(labels, frame, [floor_text, Box(frame.x0, y, frame.x1, y)])
        for point, place in zip(points, places, strict=True):
            text, weight, size = _wording(point)
            _write(axes, place, text, _ACCENT if weight == "bold" else _INK, weight, size)
    return figure


def plot_budget(spots: Sequence[Spot], *, budget_ms: float, width: int, height: int) -> Figure:
    """Latency over multiply-adds, a line a network, a point with its interval per resolution.

    A network's largest resolution is labelled with its name, its others with their size alone.

    Args:
        spots: The students.
        budget_ms: Where the line of the budget lies.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
    """
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasAgg(figure)  # measures texts
        axes = _axes(figure, left=56, right=12, bottom=44, top=8)
        _set_wide_axis(axes, "x", [spot.multiply_adds / 1e6 for spot in spots])
        ends = [end for spot in spots for end in (spot.low_ms, spot.high_ms)]
        _set_wide_axis(axes, "y", [budget_ms, *ends])
        axes.set_xlabel("multiply-adds of an image (million)")
        axes.set_ylabel("latency, p50 at batch 1 (ms)")
        axes.axhline(budget_ms, color=_MUTED, linewidth=1, dashes=(5, 4))

        # The proposed one comes first to the best place for a label.
        spots = sorted(spots, key=lambda s: (s.kind != "proposed", s.model, -s.image_size))
        largest: dict[str, int] = {}
        for spot in spots:
            largest[spot.model] = max(spot.image_size, largest.get(spot.model, 0))
        for model in largest:
            line = sorted((s.multiply_adds / 1e6, s.p50_ms) for s in spots if s.model == model)
            axes.plot(*zip(*line, strict=True), color=_LINE, linewidth=1.2, zorder=1)
        labels, wordings = [], []
        for spot in spots:
            x = spot.multiply_adds / 1e6
            _draw_spot(axes, spot)
            wording = _spot_wording(spot, named=spot.image_size == largest[spot.model])
            left, bottom = axes.transData.transform((x, spot.p50_ms))
            labels.append(Label(left, bottom, _SMALLEST / 2, *_text_size(axes, *wording)))
            wordings.append(wording)
        text = f"budget: {budget_ms:g} ms"
        taken = _label_floor(axes, budget_ms, text, [label.point for label in labels])
        frame = Box(*axes.get_window_extent().extents)
        y = axes.transData.transform((1, budget_ms))[1]
        places = arrange(labels, frame, [taken, Box(frame.x0, y, frame.x1, y)])
        for (text, weight, size), place in zip(wordings, places, strict=True):
            _write(axes, place, text, _ACCENT if weight == "bold" else _INK, weight, size)
    return figure


def plot_history(
    history: Sequence[Mapping[str, float]], *, best_epoch: int, width: int, height: int
) -> Figure:
    """Validation accuracy over epochs, and beneath it the loss and its parts.

    Args:
        history: A row an epoch: ``epoch``, ``loss``, its parts by name, and ``val_accuracy`` as a
            share.
        best_epoch: The epoch whose weights were kept.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
    """
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        epochs = [row["epoch"] for row in history]
        half = (height - 44) / 2
        above = _axes(figure, left=48, right=12, bottom=44 + half, top=22)
        below = _axes(figure, left=48, right=12, bottom=44, top=height - 44 - half + 24)

        accuracies = [100 * row["val_accuracy"] for row in history]
        above.plot(epochs, accuracies, color=_ACCENT, linewidth=1.8, marker="o", markersize=3)
        best = next(a for e, a in zip(epochs, accuracies, strict=True) if e == best_epoch)
        above.plot([best_epoch], [best], "o", color=_ACCENT, markersize=9)
        above.set_title("validation accuracy (%)", loc="left", fontsize=12, color=_MUTED)
        above.tick_params(labelbottom=False)

        parts = [name for name in history[0] if name not in ("epoch", "loss", "val_accuracy")]
        lines = {"loss": "-"}
        if parts != ["cross_entropy"]:  # it would be the loss once more
            lines |= dict(zip(parts, ("--", ":", "-."), strict=False))
        for name, dashes in lines.items():
            values = [row[name] for row in history]
            label = name.replace("_", " ")
            below.plot(epochs, values, dashes, color=_INK, linewidth=1.4, label=label)
        below.set_title("training loss", loc="left", fontsize=12, color=_MUTED)
        if len(lines) > 1:
            below.legend(loc="upper right", fontsize=11, handlelength=1.8, labelspacing=0.2)
        below.set_xlabel("epoch")
        for axes in (above, below):
            axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
    return figure


def to_svg(figure: Figure, *, name: str, title: str) -> str:
    """A figure as an ``<svg>`` element to stand in a page.

    Args:
        figure: What to write.
        name: Of the picture; it keeps the ids of several pictures in one page apart.
        title: What a person who does not see the picture is told of it.
    """
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()
    # The rule is for all elements of a page; the page has one for its pictures.
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', svg, count=2)
    svg = svg.replace("font-family: 'DejaVu Sans'; ", "")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = svg.replace(">", f'>\n <title id="{name}-title">{html.escape(title)}</title>', 1)
    return svg.replace("<svg ", f'<svg role="img" aria-labelledby="{name}-title" ', 1)


def _axes(figure: Figure, *, left: float, right: float, bottom: float, top: float) -> Axes:
    """Axes with margins in pixels."""
    width, height = figure.bbox.width, figure.bbox.height
    return figure.add_axes(
        (
            left / width,
            bottom / height,
            (width - left - right) / width,
            (height - top - bottom) / height,
        )
    )


def _set_wide_axis(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """An axis of values above zero, which is logarithmic where they lie far apart."""
    low, high = min(values), max(values)
    axis = axes.xaxis if which == "x" else axes.yaxis
    if high / low >= _LOG_FROM:
        pad = (high / low) ** 0.2
        axes.set(**{f"{which}scale": "log", f"{which}lim": (low / pad, high * pad)})
        decades = math.log10(high / low)
        subs = (1, 2, 3, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 2.5 else (1,)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_locator(FixedLocator([]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        pad = max(0.14 * (high - low), 0.05 * high)
        axes.set(**{f"{which}lim": (low - pad, high + pad)})
        axis.set_major_locator(MaxNLocator(6))


def _set_accuracy_axis(axes: Axes, accuracies: Sequence[float]) -> None:
    low, high = min(accuracies), max(accuracies)
    pad = max(0.16 * (high - low), 0.5)
    axes.set_ylim(low - pad, high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if 0 <= value <= 100 else "")
    )


def _wording(point: Point) -> tuple[str, str, float]:
    """Text, weight and size of a label."""
    if point.kind == "shipped":
        return f"{point.name} (ships)", "bold", 12
    return point.name, "normal", 12


def _draw_point(axes: Axes, point: Point, diameter: float, depth: int) -> None:
    face = {"shipped": _ACCENT, "accepted": _MUTED, "rejected": _PAPER, "teacher": _INK}[point.kind]
    edge = {"shipped": _ACCENT, "teacher": _INK}.get(point.kind, _MUTED)
    axes.scatter(
        [point.p50_ms],
        [point.accuracy],
        s=diameter**2,
        facecolor=face,
        edgecolor=edge,
        linewidth=1.5,
        zorder=3 - depth / 1000,
    )


def _draw_spot(axes: Axes, spot: Spot) -> None:
    face = {"proposed": _ACCENT, "meets": _MUTED, "slow": _PAPER}[spot.kind]
    edge = _ACCENT if spot.kind == "proposed" else _MUTED
    x = spot.multiply_adds / 1e6
    axes.vlines(x, spot.low_ms, spot.high_ms, color=edge, linewidth=1.5, zorder=2)
    axes.scatter(
        [x],
        [spot.p50_ms],
        s=_SMALLEST**2,
        facecolor=face,
        edgecolor=edge,
        linewidth=1.5,
        zorder=3,
    )


def _spot_wording(spot: Spot, *, named: bool) -> tuple[str, str, float]:
    """Text, weight and size of a label."""
    if spot.kind == "proposed":
        return f"{spot.model}, {spot.image_size} px (proposed)", "bold", 12
    return f"{spot.model}, {spot.image_size} px" if named else str(spot.image_size), "normal", 12


def _label_floor(axes: Axes, floor: float, text: str, points: Sequence[Box]) -> Box:
    """Writes beside the line where it covers the fewest points, and says where that is."""
    size = _text_size(axes, text, "normal", 11)
    y = axes.transData.transform((1, floor))[1]
    frame = axes.get_window_extent()
    places = []
    sides: tuple[tuple[float, Side], ...] = ((1, "right"), (0, "left"), (0.5, "center"))
    for share, side in sides:
        x = frame.x0 + 4 + share * (frame.width - 8 - size[0])
        for bottom in (y - size[1] - 4, y + 4):
            places.append(Place(Box(x, bottom, x + size[0], bottom + size[1]), side, None))
    place = min(places, key=lambda place: sum(map(place.box.overlaps, points)))
    _write(axes, place, text, _MUTED, "normal", 11)
    return place.box


def _write(axes: Axes, place: Place, text: str, colour: str, weight: str, size: float) -> None:
    box = place.box
    axes.text(
        {"left": box.x0, "center": (box.x0 + box.x1) / 2, "right": box.x1}[place.side],
        (box.y0 + box.y1) / 2,
        text,
        ha=place.side,
        va="center",
        color=colour,
        fontweight=weight,
        fontsize=size,
        transform=IdentityTransform(),
        zorder=4,
    )
    if place.leader:
        x0, y0, x1, y1 = place.leader
        axes.plot([x0, x1], [y0, y1], color=_MUTED, lw=0.8, transform=IdentityTransform(), zorder=2)


def _text_size(axes: Axes, text: str, weight: str, size: float) -> tuple[float, float]:
    probe = axes.text(0, 0, text, fontweight=weight, fontsize=size)
    extent = probe.get_window_extent()
    probe.remove()
    return extent.width, extent.height
