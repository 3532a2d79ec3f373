"""The front, and the chart of accuracy against latency."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from pipeline.report.charts import Estimate, Spot, plot_front
from pipeline.report.front import pareto_front

ITEMS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=12)


@given(ITEMS)
def test_the_front_is_what_no_other_item_beats(items):
    def beats(a, b):
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    front = pareto_front(*zip(*items, strict=True))
    kept = {i for i, item in enumerate(items) if not any(beats(other, item) for other in items)}
    assert set(front) == kept and len(front) == len(kept)
    assert [items[i][0] for i in front] == sorted(items[i][0] for i in front)


def spot(name, kind, latency, accuracy):
    return Spot(name, kind, latency, Estimate(accuracy, accuracy - 5, accuracy + 5))


SPOTS = [
    *(spot(f"openvino-int8-{i}", "rejected", 0.7 + 0.01 * i, 67.4) for i in range(20)),
    spot("onnxruntime-int8-" + 40 * "x", "shipped", 0.69, 67.4),
    spot("teacher", "teacher", 2.8, 72.8),
]


@pytest.mark.parametrize("width", [1040, 360])
@pytest.mark.parametrize("spots", [SPOTS, SPOTS[-2:], SPOTS[-1:]])
def test_texts_lie_in_the_chart_and_do_not_overlap(spots, width):
    front = pareto_front([s.latency_ms for s in spots], [s.accuracy.value for s in spots])
    figure = plot_front(spots, front, width=width)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    (axes,) = figure.axes
    texts = [*axes.texts, axes.xaxis.label, axes._left_title]
    boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]  # without its line
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    for text in texts:
        box = text.get_window_extent(renderer)
        assert figure.bbox.contains(*box.min) and figure.bbox.contains(*box.max), text
    names = [text.get_text() for text in axes.texts]
    assert len(names) == (len(spots) if width > 600 else len(spots[-2:]))


def test_every_model_is_drawn_with_its_interval_and_the_front_as_steps():
    spots = SPOTS[-3:]
    (axes,) = plot_front(spots, [1, 2], width=1040).axes
    dots = {tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "o"}
    assert dots == {(s.latency_ms, s.accuracy.value) for s in spots}
    intervals = {
        tuple(seg[:, 1].round(6).tolist()) for c in axes.collections for seg in c.get_segments()
    }
    assert intervals == {(62.4, 72.4), (67.8, 77.8)}
    (steps,) = [line for line in axes.lines if line.get_marker() != "o"]
    assert steps.get_drawstyle() == "steps-post"
    assert list(steps.get_xdata())[:2] == [0.69, 2.8]
