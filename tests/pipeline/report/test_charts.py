import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pipeline.report.charts import (
    DotRow,
    Estimate,
    Panel,
    dot_plot,
    plot_dots,
    plot_history,
    to_svg,
)

SVG = "{http://www.w3.org/2000/svg}"
PANELS = [
    Panel("Accuracy drop\nvs. fp32 (points)", 1.0, 2.75),
    Panel("Latency relative\nto fp32", 1.0),
    Panel("Size\n(MB)"),
]


def row(name, kind, drop, ratio, size):
    return DotRow(
        name,
        kind,
        (
            Estimate(drop, drop - 1.5, drop + 1.5),
            Estimate(ratio, 0.95 * ratio, 1.05 * ratio),
            Estimate(size, size, size),
        ),
    )


ROWS = [
    row("openvino-int8-b1", "shipped", 0.4, 0.96, 0.61),
    row("openvino-fp16-b1", "accepted", 0.0, 0.99, 0.9),
    row("onnxruntime-int8", "rejected", 0.2, 1.34, 0.64),
    row("teacher", "teacher", -1.6, 3.9, 13.5),
]
NEARLY_EQUAL = [row(f"candidate-{i}", "accepted", 0.0, 1 + i / 5000, 1.0) for i in range(20)]
FAR = [
    row("tiny", "shipped", 0, 0.5, 0.3),
    row("teacher-" + 60 * "x", "teacher", -60, 250, 340),
]
HISTORY = [
    {"epoch": e, "loss": 2 / e, "cross_entropy": 1 / e, "detail": 0.5 / e, "val_accuracy": 0.1 * e}
    for e in range(1, 8)
]
CHARTS = [
    lambda: plot_dots(ROWS, PANELS, width=1040),
    lambda: plot_history(HISTORY, best_epoch=5),
]


def svg_texts(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def rendered(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def dots(axes):
    return [tuple(np.ravel(line.get_xydata())) for line in axes.lines if line.get_marker() == "o"]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], NEARLY_EQUAL, FAR])
@pytest.mark.parametrize("width", [1040, 360])
def test_texts_lie_in_the_chart_and_do_not_overlap(rows, width):
    figure = plot_dots(rows, PANELS, width=width)
    renderer = rendered(figure)
    names = list(figure.axes[0].texts)
    ticks = [
        label
        for axes in figure.axes
        for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]
    ]
    titles = [axes._left_title for axes in figure.axes]
    boxes = [text.get_window_extent(renderer) for text in (*names, *ticks, *titles)]
    assert len(names) == len(rows)
    texts = [text.get_text() for text in (*names, *ticks, *titles)]
    outside = [
        text
        for text, box in zip(texts, boxes, strict=True)
        if not (figure.bbox.contains(*box.min) and figure.bbox.contains(*box.max))
    ]
    assert not outside
    both = combinations(zip(texts, boxes, strict=True), 2)
    assert not [(a, b) for (a, one), (b, other) in both if one.overlaps(other)]


@pytest.mark.parametrize("width", [1040, 360])
def test_names_do_not_cover_dots(width):
    figure = plot_dots(NEARLY_EQUAL, PANELS, width=width)
    renderer = rendered(figure)
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    for axes in figure.axes:
        for center in axes.transData.transform(dots(axes)):
            assert all(
                np.hypot(*(np.clip(center, box.min, box.max) - center)) > 4.5 for box in boxes
            )


def test_every_estimate_is_drawn_with_its_interval():
    for at, axes in enumerate(plot_dots(ROWS, PANELS, width=1040).axes):
        estimates = [each.estimates[at] for each in ROWS]
        assert dots(axes) == [(e.value, y) for y, e in enumerate(estimates)]
        intervals = {tuple(s[:, 0]) for c in axes.collections for s in c.get_segments()}
        assert intervals == {(e.low, e.high) for e in estimates if e.low < e.high}


def test_limits_are_dashed_lines():
    for panel, axes in zip(PANELS, plot_dots(ROWS, PANELS, width=1040).axes, strict=True):
        drawn = {line.get_xdata()[0] for line in axes.lines if line.is_dashed()}
        assert drawn == {panel.limit, panel.interval_limit} - {None}


def test_only_the_shipped_model_is_bold():
    svg = to_svg(plot_dots(ROWS, PANELS, width=1040), name="x", title="")
    assert {each.name for each in ROWS} <= set(svg_texts(svg))
    assert svg.count("font-weight: 700") == 1


@pytest.mark.parametrize(("largest", "scale"), [(1.9, "linear"), (3.1, "log"), (900.0, "log")])
@pytest.mark.parametrize("width", [1040, 360])
def test_a_wide_range_of_positive_values_has_a_logarithmic_axis(largest, scale, width):
    rows = [DotRow("a", "shipped", [Estimate(v, v, v)]) for v in (0.95, largest)]
    (axes,) = plot_dots(rows, [Panel("Latency\n(ms)")], width=width).axes
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert 2 <= len([tick for tick in axes.get_xticks() if low <= tick <= high]) <= 24


@pytest.mark.parametrize("make", CHARTS)
def test_the_svg_is_reproducible_and_inherits_its_style(make):
    svg = to_svg(make(), name="one", title='accuracy & "latency" <here>')
    assert svg == to_svg(make(), name="one", title='accuracy & "latency" <here>')
    root = ElementTree.fromstring(svg)
    title = root.find(f"{SVG}title")
    assert title.text == 'accuracy & "latency" <here>'
    assert root.get("role") == "img" and root.get("aria-labelledby") == title.get("id")
    assert not re.search(r"#[0-9a-f]{3,6}\b(?!-)", re.sub(r"#one-\w+", "", svg))
    assert "font-family" not in svg and "<style" not in svg and "<metadata" not in svg
    assert not re.search(r"20\d\d-\d\d-\d\d", svg)


def test_ids_of_two_charts_of_one_page_differ():
    wide, narrow = dot_plot(ROWS, PANELS, name="x", title="").split('<div class="narrow">')
    ids = [re.findall(r'\bid="([^"]+)"', svg) for svg in (wide, narrow)]
    assert ids[0] and ids[1] and not set(ids[0]) & set(ids[1])
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', wide)
    assert used and set(used) <= set(ids[0])


def test_a_name_with_markup_stays_text():
    rows = [row("<b>a & $x_1$</b>", "shipped", 1, 1, 10), *ROWS]
    svg = to_svg(plot_dots(rows, PANELS, width=360), name="x", title="")
    assert "<b>a & $x_1$</b>" in svg_texts(svg)


def test_the_history_shows_every_epoch_and_marks_the_best():
    above, below = plot_history(HISTORY, best_epoch=5).axes
    curve, best = above.lines
    np.testing.assert_allclose(curve.get_xdata(), range(1, 8))
    np.testing.assert_allclose(curve.get_ydata(), [10, 20, 30, 40, 50, 60, 70])
    np.testing.assert_allclose([*best.get_xdata(), *best.get_ydata()], [5, 50])
    named = {text.get_text() for text in below.get_legend().get_texts()}
    assert named == {"loss", "cross entropy", "detail"}


def test_the_curve_of_another_metric():
    history = [row | {"val_macro_f1": 0.9 - row["val_accuracy"]} for row in HISTORY]
    above, below = plot_history(history, best_epoch=1, metric="macro_f1").axes
    np.testing.assert_allclose(above.lines[0].get_ydata(), [80, 70, 60, 50, 40, 30, 20])
    assert above.get_title(loc="left") == "validation macro F1 (%)"
    assert len(below.lines) == 3


def test_training_with_cross_entropy_alone_has_one_line_and_no_legend():
    history = [{"epoch": 1, "loss": 2.0, "cross_entropy": 2.0, "val_accuracy": 0.5}]
    _, below = plot_history(history, best_epoch=1).axes
    assert len(below.lines) == 1 and below.get_legend() is None
