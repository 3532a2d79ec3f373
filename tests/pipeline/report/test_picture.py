import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from pipeline.report.picture import Point, Spot, plot_budget, plot_history, plot_tradeoff, to_svg

SVG = "{http://www.w3.org/2000/svg}"
POINTS = [
    Point("onnxruntime-fp32", 0.68, 60.3, 1_620_000, "accepted"),
    Point("onnxruntime-int8", 0.95, 60.1, 640_000, "rejected"),
    Point("openvino-fp16", 1.01, 60.3, 900_000, "rejected"),
    Point("openvino-int8", 1.00, 60.0, 620_000, "rejected"),
    Point("openvino-fp16-b1", 0.74, 60.3, 900_000, "accepted"),
    Point("openvino-int8-b1", 0.69, 59.9, 610_000, "shipped"),
    Point("teacher", 2.75, 61.9, 13_500_000, "teacher"),
]
NEAR = [Point(f"candidate-{i}", 1 + i / 500, 70, 10**6, "accepted") for i in range(9)]
FAR = [
    Point("teacher", 250.0, 95.0, 340_000_000, "teacher"),
    Point("tiny", 0.9, 31.0, 300_000, "shipped"),
]
HISTORY = [
    {"epoch": e, "loss": 2 / e, "cross_entropy": 1 / e, "detail": 0.5 / e, "val_accuracy": 0.1 * e}
    for e in range(1, 8)
]

SPOTS = [
    Spot(model, size, adds * size**2, p50, 0.95 * p50, 1.05 * p50, kind)
    for model, adds, sizes in (
        ("mobilenetv3_small_050", 500, ((64, 0.4, "meets"), (96, 0.5, "meets"))),
        ("mobilenetv2_035", 1150, ((64, 0.5, "meets"), (96, 0.8, "meets"), (128, 1.3, "slow"))),
        ("mobilenetv2_050", 1900, ((64, 0.7, "proposed"), (96, 1.2, "slow"))),
        ("resnet18", 36000, ((64, 5.0, "slow"), (96, 11.0, "slow"), (128, 20.0, "slow"))),
    )
    for size, p50, kind in sizes
]


def draw(points, width=760, height=420, floor=59.3):
    return plot_tradeoff(
        points, floor=floor, floor_label="the lowest accepted", width=width, height=height
    )


def svg_texts(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("points", [POINTS, NEAR, FAR, POINTS[-1:]])
@pytest.mark.parametrize("size", [(1040, 460), (360, 440)])
def test_labels_lie_in_the_picture_and_cover_nothing(points, size):
    figure = draw(points, *size)
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == len(points) + 1  # with that of the line
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    frame = axes.get_window_extent(renderer)
    assert all(frame.contains(*box.min) and frame.contains(*box.max) for box in boxes)
    for spot in axes.collections:
        centre = axes.transData.transform(spot.get_offsets()[0])
        radius = np.sqrt(spot.get_sizes()[0]) / 2
        for text, box in zip(axes.texts, boxes, strict=True):
            if text.get_text() != "the lowest accepted":
                nearest = np.clip(centre, box.min, box.max)
                assert np.hypot(*(nearest - centre)) > radius


def test_every_model_has_a_point_where_it_was_measured():
    (axes,) = draw(POINTS).axes
    drawn = {tuple(spot.get_offsets()[0]) for spot in axes.collections}
    assert drawn == {(point.p50_ms, point.accuracy) for point in POINTS}
    assert len(axes.collections) == len(POINTS)


def test_the_larger_the_file_the_larger_the_point():
    (axes,) = draw(POINTS).axes
    sizes = {tuple(s.get_offsets()[0]): s.get_sizes()[0] for s in axes.collections}
    areas = [sizes[p.p50_ms, p.accuracy] for p in sorted(POINTS, key=lambda p: p.bytes)]
    assert areas == sorted(areas) and areas[-1] > 5 * areas[0]


def test_the_one_that_ships_is_marked_by_word_and_weight():
    svg = to_svg(draw(POINTS), name="tradeoff", title="")
    texts = svg_texts(svg)
    assert "openvino-int8-b1 (ships)" in texts
    assert [text for text in texts if "ships" in text] == ["openvino-int8-b1 (ships)"]
    assert {p.name for p in POINTS} - {"openvino-int8-b1"} <= set(texts)
    assert svg.count("font-weight: 700") == 1


def test_the_line_lies_at_the_lowest_accepted_accuracy():
    (axes,) = draw(POINTS, floor=59.3).axes
    dashed = [line for line in axes.lines if line.is_dashed()]
    assert [list(line.get_ydata()) for line in dashed] == [[59.3, 59.3]]


@pytest.mark.parametrize(("slowest", "scale"), [(1.9, "linear"), (2.1, "log"), (900.0, "log")])
def test_the_latency_axis_is_logarithmic_when_the_range_wants_it(slowest, scale):
    points = [Point("a", 0.7, 60, 1, "shipped"), Point("b", slowest, 61, 2, "teacher")]
    figure = draw(points)
    assert figure.axes[0].get_xscale() == scale
    low, high = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
    assert 2 <= len(ticks) <= 8


@pytest.mark.parametrize(
    "make",
    [
        lambda: draw(POINTS),
        lambda: plot_history(HISTORY, best_epoch=5, width=420, height=300),
        lambda: plot_budget(SPOTS, budget_ms=1.0, width=1040, height=460),
    ],
)
def test_the_svg_is_the_same_every_time_and_takes_its_looks_from_the_page(make):
    svg = to_svg(make(), name="one", title='accuracy & "latency" <here>')
    assert svg == to_svg(make(), name="one", title='accuracy & "latency" <here>')
    root = ElementTree.fromstring(svg)
    title = root.find(f"{SVG}title")
    assert title.text == 'accuracy & "latency" <here>'
    assert root.get("role") == "img" and root.get("aria-labelledby") == title.get("id")
    assert not re.search(r"#[0-9a-f]{3,6}\b(?!-)", re.sub(r"#one-\w+", "", svg))
    assert "font-family" not in svg and "<style" not in svg and "<metadata" not in svg
    assert not re.search(r"20\d\d-\d\d-\d\d", svg)


def test_ids_of_two_pictures_of_one_page_do_not_meet():
    ids = [
        re.findall(r'\bid="([^"]+)"', to_svg(draw(POINTS), name=name, title=""))
        for name in ("wide", "narrow")
    ]
    assert ids[0] and not set(ids[0]) & set(ids[1])
    svg = to_svg(draw(POINTS), name="wide", title="")
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)
    assert used and set(used) <= set(ids[0])


def test_a_name_with_markup_stays_a_name():
    points = [Point("<b>a & $x_1$</b>", 1, 50, 10, "shipped"), *POINTS]
    assert "<b>a & $x_1$</b> (ships)" in svg_texts(to_svg(draw(points), name="x", title=""))


def test_the_history_shows_every_epoch_and_marks_the_best():
    above, below = plot_history(HISTORY, best_epoch=5, width=420, height=300).axes
    curve, best = above.lines
    np.testing.assert_allclose(curve.get_xdata(), range(1, 8))
    np.testing.assert_allclose(curve.get_ydata(), [10, 20, 30, 40, 50, 60, 70])
    np.testing.assert_allclose([*best.get_xdata(), *best.get_ydata()], [5, 50])
    named = {text.get_text() for text in below.get_legend().get_texts()}
    assert named == {"loss", "cross entropy", "detail"}


def test_a_training_on_labels_alone_has_one_line_and_no_legend():
    history = [{"epoch": 1, "loss": 2.0, "cross_entropy": 2.0, "val_accuracy": 0.5}]
    _, below = plot_history(history, best_epoch=1, width=420, height=300).axes
    assert len(below.lines) == 1 and below.get_legend() is None


def test_a_scout_shows_every_student_its_interval_and_the_budget():
    (axes,) = plot_budget(SPOTS, budget_ms=1.0, width=1040, height=460).axes
    dots = [c for c in axes.collections if isinstance(c, PathCollection)]
    drawn = {tuple(dot.get_offsets()[0]) for dot in dots}
    assert drawn == {(s.multiply_adds / 1e6, s.p50_ms) for s in SPOTS}
    bars = [c for c in axes.collections if c not in dots]
    ends = {tuple(segment[:, 1]) for bar in bars for segment in bar.get_segments()}
    assert ends == {(s.low_ms, s.high_ms) for s in SPOTS}
    dashed = [line for line in axes.lines if line.is_dashed()]
    assert [list(line.get_ydata()) for line in dashed] == [[1.0, 1.0]]


def test_a_scouts_labels_name_each_network_once_mark_the_proposed_and_cover_nothing():
    figure = plot_budget(SPOTS, budget_ms=1.0, width=1040, height=460)
    (axes,) = figure.axes
    texts = {text.get_text() for text in axes.texts}
    assert texts == {
        "64", "96", "mobilenetv3_small_050, 96 px", "mobilenetv2_035, 128 px",
        "mobilenetv2_050, 64 px (proposed)", "mobilenetv2_050, 96 px", "resnet18, 128 px",
        "budget: 1 ms",
    }  # fmt: skip
    bold = [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"]
    assert bold == ["mobilenetv2_050, 64 px (proposed)"]
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
