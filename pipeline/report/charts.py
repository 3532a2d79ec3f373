"""Charts as SVG elements that inherit colors and typeface from the page.

One drawing unit is one pixel of the page (72 dpi). The same data gives the same bytes.
"""

import html
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from pipeline.class_metrics import METRIC_NAMES, Metric
from pipeline.measure.reliability import ReliabilityBin
from pipeline.report.formats import MINUS

# Placeholders that `to_svg` replaces by the page's CSS variables.
_INK, _MUTED, _LINE, _ACCENT, _PAPER = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_INK: "ink", _MUTED: "muted", _LINE: "line", _ACCENT: "accent", _PAPER: "paper"}

_STYLE = {
    # Wider than the system typefaces of the page, so that texts fit there, too.
    "font.family": ["DejaVu Sans"],
    "font.size": 12,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.linewidth": 0.5,
    "text.color": _INK,
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), _LINE),
    **dict.fromkeys(("axes.labelcolor", "axes.titlecolor"), _MUTED),
    **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor"), _MUTED),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor"), "none"),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("legend.frameon", "text.parse_math"), False),
}

_LONGEST_NAME = 40  # characters
_CHARACTER = 7.5  # average width in pixels at 12 px
_LOG_FROM = 3  # ratio of largest to smallest value from which an axis is logarithmic

_EDGES = {"shipped": _ACCENT, "proposed": _ACCENT, "teacher": _INK}  # others are muted


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its confidence interval; all three are equal if there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class DotRow:
    """One model of a dot plot, with one estimate per panel.

    ``kind`` is ``shipped``, ``proposed``, ``accepted``, ``rejected`` or ``teacher``.
    """

    name: str
    kind: str
    estimates: Sequence[Estimate]


@dataclass(frozen=True)
class Panel:
    """One quantity of a dot plot. ``limit`` is a dashed line, ``interval_limit`` a dotted one."""

    title: str
    limit: float | None = None
    interval_limit: float | None = None


@dataclass(frozen=True)
class Spot:
    """One model in a chart of accuracy, in percent, against latency.

    ``kind`` is one of those of ``DotRow``, or ``measured`` where there is no verdict.
    """

    name: str
    kind: str
    latency_ms: float
    accuracy: Estimate


def dot_plot(rows: Sequence[DotRow], panels: Sequence[Panel], *, name: str, title: str) -> Markup:
    """A dot plot for wide and one for narrow screens; the style sheet shows one of the two."""
    return _wide_and_narrow(lambda width: plot_dots(rows, panels, width=width), name, title)


def front_plot(spots: Sequence[Spot], front: Sequence[int], *, name: str, title: str) -> Markup:
    """Accuracy against latency, for wide and for narrow screens."""
    return _wide_and_narrow(lambda width: plot_front(spots, front, width=width), name, title)


def _wide_and_narrow(draw: Callable[[int], Figure], name: str, title: str) -> Markup:
    charts = Markup()
    for size, width in (("wide", 1040), ("narrow", 360)):
        svg = to_svg(draw(width), name=f"{name}-{size}", title=title)
        charts += Markup('<div class="{}">{}</div>').format(size, svg)
    return charts


def plot_dots(rows: Sequence[DotRow], panels: Sequence[Panel], *, width: int) -> Figure:
    """Draws one row per model and one panel per quantity, with confidence intervals.

    In a narrow chart (``width`` in pixels), the names are above the dots instead of beside them.
    """
    names = [r.name if len(r.name) <= _LONGEST_NAME else f"{r.name[:39]}…" for r in rows]
    narrow = width < 600
    line_height, name_offset = (38, 0.4) if narrow else (26, 0.0)
    gap = 16 if narrow else 32
    left, right = 12 if narrow else 20 + _CHARACTER * max(map(len, names)), 18
    panel_width = (width - left - right + gap) / len(panels) - gap
    with style.context(["default", _STYLE]):
        height = 66 + line_height * len(rows)
        margins = (40, right, 26, left)
        figure, all_axes = _subplots(width, height, margins, ncols=len(panels))
        figure.subplots_adjust(wspace=gap / panel_width)
        for at, (axes, panel) in enumerate(zip(all_axes, panels, strict=True)):
            axes.set_ylim(len(rows) - 0.4, -0.4 - name_offset)
            axes.spines["left"].set_visible(False)
            axes.set_yticks(range(len(rows)), labels=[])
            axes.tick_params(axis="y", length=0)
            axes.set_title(panel.title)
            estimates = [row.estimates[at] for row in rows]
            limits = [x for x in (panel.limit, panel.interval_limit) if x is not None]
            ends = [end for e in estimates for end in (e.value, e.low, e.high)]
            _scale(axes, [*ends, *limits], most_ticks=max(3, int(panel_width / 45)))
            for y, row in enumerate(rows):
                for limit, dashes in ((panel.limit, (5, 4)), (panel.interval_limit, (1, 3))):
                    if limit is not None:  # the line stops below the name
                        line = [y - 0.5 + 0.7 * name_offset, y + 0.5 - 0.25 * name_offset]
                        axes.plot([limit, limit], line, color=_MUTED, lw=1, dashes=dashes, zorder=1)
                _draw_estimate(axes, row.kind, estimates[y], y)
        across = blended_transform_factory(figure.transFigure, all_axes[0].transData)
        for y, (row, name) in enumerate(zip(rows, names, strict=True)):
            marked = row.kind in ("shipped", "proposed")
            options: Any = {"color": _ACCENT, "fontweight": "bold"} if marked else {}
            left_edge, center = 2 / width, y - name_offset
            all_axes[0].text(left_edge, center, name, transform=across, va="center", **options)
    return figure


def plot_front(spots: Sequence[Spot], front: Sequence[int], *, width: int) -> Figure:
    """Draws accuracy against latency, with the front as a line and the names at the right.

    In a narrow chart (``width`` in pixels), only the models on the front, the shipped model and the
    teacher have a name, of at most 16 characters.

    Args:
        spots: The models.
        front: Indices of the models on the front, fastest first.
        width: Width of the chart in pixels.
    """
    narrow = width < 600
    longest = 16 if narrow else _LONGEST_NAME
    named = [
        at
        for at, spot in enumerate(spots)
        if not narrow or at in front or spot.kind in ("shipped", "teacher")
    ]
    names = {
        at: name if len(name := spots[at].name) <= longest else f"{name[: longest - 1]}…"
        for at in named
    }
    right = 32 + _CHARACTER * max(map(len, names.values()))
    height = max(300, 90 + 17 * len(named))
    with style.context(["default", _STYLE]):
        figure, (axes,) = _subplots(width, height, (26, right, 46, 42))
        axes.set_title("validation accuracy (%)")
        axes.set_xlabel("p50 latency (ms)")
        _scale(axes, [spot.latency_ms for spot in spots], most_ticks=4 if narrow else 10)
        ends = [end for spot in spots for end in (spot.accuracy.low, spot.accuracy.high)]
        pad = max(0.05 * (max(ends) - min(ends)), 0.5)
        axes.set_ylim(min(ends) - pad, max(ends) + pad)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        steps = [(spots[at].latency_ms, spots[at].accuracy.value) for at in front]
        steps.append((axes.get_xlim()[1], steps[-1][1]))
        axes.step(*zip(*steps, strict=True), where="post", color=_ACCENT, lw=1.5, zorder=1)
        for spot in spots:
            edge = _EDGES.get(spot.kind, _MUTED)
            face = _PAPER if spot.kind == "rejected" else edge
            x, found = spot.latency_ms, spot.accuracy
            axes.vlines(x, found.low, found.high, color=edge, linewidth=1, zorder=2)
            axes.plot(x, found.value, "o", ms=9, mfc=face, mec=edge, mew=1.5, zorder=3)
        bottom, top = axes.get_ylim()
        line = 17 * (top - bottom) / (height - 26 - 46)
        heights = _spread([spots[at].accuracy.value for at in named], bottom, top, line)
        for at, y in zip(named, heights, strict=True):
            shipped = spots[at].kind == "shipped"
            options: Any = {"color": _ACCENT, "fontweight": "bold"} if shipped else {}
            axes.annotate(
                names[at],
                (spots[at].latency_ms, spots[at].accuracy.value),
                (1 + 14 / (width - right - 42), y),
                textcoords=("axes fraction", "data"),
                va="center",
                arrowprops={"arrowstyle": "-", "color": _LINE, "relpos": (0, 0.5), "shrinkB": 6},
                annotation_clip=False,
                zorder=0,
                **options,
            )
    return figure


def _spread(wanted: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Positions near the wanted ones, in the same order, at least ``gap`` apart."""
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    placed = dict(enumerate(wanted))
    above = high + gap
    for at in reversed(order):
        above = placed[at] = min(placed[at], above - gap)
    below = low - gap
    for at in order:
        below = placed[at] = max(placed[at], below + gap)
    return [placed[at] for at in range(len(wanted))]


def plot_history(
    history: Sequence[Mapping[str, float]], *, best_epoch: int, metric: Metric = "accuracy"
) -> Figure:
    """Draws a validation metric over epochs, and below it the loss and its terms.

    ``history`` has one row per epoch: ``epoch``, ``loss``, its terms by name, and the validation
    metrics, whose names begin with ``val_``.
    """
    with style.context(["default", _STYLE]):
        figure, (above, below) = _subplots(420, 300, (22, 12, 44, 48), nrows=2)
        figure.subplots_adjust(hspace=0.28)
        epochs = [row["epoch"] for row in history]
        scores = [100 * row[f"val_{metric}"] for row in history]
        above.plot(epochs, scores, color=_ACCENT, linewidth=1.8, marker="o", markersize=3)
        best = scores[epochs.index(best_epoch)]
        above.plot([best_epoch], [best], "o", color=_ACCENT, markersize=9)
        above.set_title(f"validation {METRIC_NAMES[metric]} (%)")
        above.tick_params(labelbottom=False)

        others = ("epoch", "loss")
        terms = [n for n in history[0] if n not in others and not n.startswith("val_")]
        lines = {"loss": "-"}
        if terms != ["cross_entropy"]:  # it equals the loss
            lines |= dict(zip(terms, ("--", ":", "-."), strict=False))
        for name, dashes in lines.items():
            values = [row[name] for row in history]
            label = name.replace("_", " ")
            below.plot(epochs, values, dashes, color=_INK, linewidth=1.4, label=label)
        below.set_title("training loss")
        if len(lines) > 1:
            below.legend(loc="upper right", fontsize=11, handlelength=1.8, labelspacing=0.2)
        below.set_xlabel("epoch")
        for axes in (above, below):
            axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
    return figure


def plot_reliability(bins: Sequence[ReliabilityBin]) -> Figure:
    """Draws accuracy by confidence, and below it the share of images; both in percent."""
    with style.context(["default", _STYLE]):
        figure, (above, below) = _subplots(420, 360, (22, 12, 44, 48), nrows=2)
        figure.subplots_adjust(hspace=0.3)
        edges = [100 * at / len(bins) for at in range(len(bins))]
        options: Any = {"width": 100 / len(bins), "align": "edge", "edgecolor": _PAPER}
        images = sum(each.images for each in bins)
        above.bar(edges, [100 * (each.accuracy or 0) for each in bins], color=_ACCENT, **options)
        above.plot([0, 100], [0, 100], color=_INK, linewidth=1, dashes=(5, 4))
        above.set_title("accuracy (%)")
        above.tick_params(labelbottom=False)
        below.bar(edges, [100 * each.images / images for each in bins], color=_MUTED, **options)
        below.set_title("images (%)")
        below.set_xlabel("confidence (%)")
        for axes in (above, below):
            axes.set_xlim(0, 100)
        above.set_ylim(0, 100)
    return figure


def to_svg(figure: Figure, *, name: str, title: str) -> Markup:
    """Writes a figure as ``<svg>`` element with a text alternative; ``name`` prefixes its ids."""
    text = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata=no_metadata)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()
    # The style rule of matplotlib would apply to the whole page.
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', svg, count=2)
    svg = svg.replace("font-family: 'DejaVu Sans'; ", "")
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var(--{variable})")
    svg = svg.replace(">", f'>\n <title id="{name}-title">{html.escape(title)}</title>', 1)
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-labelledby="{name}-title" ', 1))


def _subplots(
    width: float, height: float, margins: Sequence[float], **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes in one row or column; sizes in pixels, margins clockwise from top."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    top, right, bottom, left = margins
    edges = {"left": left / width, "right": 1 - right / width}
    edges |= {"bottom": bottom / height, "top": 1 - top / height}
    axes: Any = figure.subplots(**options, squeeze=False, gridspec_kw=edges)
    return figure, list(axes.ravel())


def _draw_estimate(axes: Axes, kind: str, estimate: Estimate, y: float) -> None:
    edge = _EDGES.get(kind, _MUTED)
    face = _PAPER if kind == "rejected" else edge
    if estimate.low < estimate.high:
        axes.hlines(y, estimate.low, estimate.high, color=edge, linewidth=1.5, zorder=2)
    axes.plot(estimate.value, y, "o", ms=9, mfc=face, mec=edge, mew=1.5, zorder=3)


def _scale(axes: Axes, values: Sequence[float], *, most_ticks: int) -> None:
    """Scales the x axis; positive values that are far apart get a logarithmic one."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= _LOG_FROM:
        pad = (high / low) ** 0.08
        low, high = low / pad, high * pad
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(_log_ticks(low, high, most_ticks)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        pad = max(0.08 * (high - low), 0.02 * max(abs(low), abs(high)), 1e-6)
        low, high = low - pad, high + pad
        axes.xaxis.set_major_locator(MaxNLocator(most_ticks, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", MINUS)))
    axes.set_xlim(low, high)


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(ticks) <= most:
            break
    return ticks
