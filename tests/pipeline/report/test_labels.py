import math
from itertools import combinations

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from pipeline.report.labels import Box, Label, Line, arrange

FRAME = Box(0, 0, 600, 400)
numbers = st.floats(-50, 50).map(lambda x: round(x, 3))
boxes = st.tuples(numbers, numbers, numbers, numbers).map(
    lambda b: Box(min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 1, max(b[1], b[3]) + 1)
)
labels = st.builds(
    Label,
    x=st.floats(30, 570),
    y=st.floats(30, 370),
    radius=st.floats(4, 14),
    width=st.floats(30, 150),
    height=st.just(14.0),
)


def clear(placed, given_labels, frame, taken=()):
    """No text on another, on a point, on what is taken, or outside of the frame."""
    assert all(frame.holds(place.box) for place in placed)
    for one, other in combinations([*(place.box for place in placed), *taken], 2):
        assert not one.overlaps(other)
    for place in placed:
        assert not any(place.box.overlaps(label.point) for label in given_labels)


@settings(max_examples=40, deadline=None)
@given(st.lists(labels, min_size=1, max_size=9))
def test_no_label_covers_anything_wherever_the_points_are(given_labels):
    taken = [Box(440, 190, 600, 204), Box(0, 210, 600, 210)]
    placed = arrange(given_labels, FRAME, taken)
    for place, label in zip(placed, given_labels, strict=True):
        assert math.isclose(place.box.x1 - place.box.x0, label.width, abs_tol=1e-6)
    clear(placed, given_labels, FRAME, [taken[0]])
    assert not any(place.box.overlaps(taken[1]) for place in placed)


def test_labels_of_points_in_one_place_fan_out():
    same = [Label(300, 200, 5, 110, 14) for _ in range(12)]
    placed = arrange(same, FRAME)
    clear(placed, same, FRAME)
    led = [place for place in placed if place.leader]
    assert len(led) >= 6  # so many labels do not all fit right at the point
    for place in led:
        x0, y0, x1, y1 = place.leader
        assert math.isclose(math.hypot(x0 - 300, y0 - 200), 5)
        assert place.box.grown(1e-9).holds(Box(x1, y1, x1, y1))


def test_a_lonely_point_has_its_label_at_its_right():
    (place,) = arrange([Label(100, 100, 6, 80, 14)], FRAME)
    assert place.side == "left" and place.leader is None
    assert 106 < place.box.x0 < 115 and place.box.y0 < 100 < place.box.y1


def test_a_label_at_the_right_edge_goes_elsewhere():
    (place,) = arrange([Label(590, 100, 6, 80, 14)], FRAME)
    assert place.leader is None and FRAME.holds(place.box)


def test_too_many_labels_still_get_a_place_each():
    tight = Box(0, 0, 60, 40)
    placed = arrange([Label(30, 20, 5, 50, 14) for _ in range(6)], tight)
    assert len(placed) == 6


@given(st.tuples(numbers, numbers, numbers, numbers), boxes)
def test_a_line_meets_a_box_as_matplotlib_says(ends, box):
    assume(math.hypot(ends[2] - ends[0], ends[3] - ends[1]) > 1e-2)

    def reference(by):
        x0, y0, x1, y1 = box.grown(by)
        path = Path([ends[:2], ends[2:]])
        return bool(path.intersects_bbox(Bbox.from_extents(x0, y0, x1, y1), filled=True))

    assume(reference(1e-6) == reference(-1e-6))  # it does not just touch the edge
    assert Line(*ends).meets(box) == reference(0)
