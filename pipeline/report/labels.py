"""Where the names of points go in a picture, so that none covers another or a point.

Coordinates are in pixels, with y upwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Side = Literal["left", "center", "right"]

_GAP = 5.0  # between a point and its label
_MARGIN = 2.0  # around a label
_REACHES = (0.0, 10.0, 20.0, 32.0, 46.0, 62.0, 80.0, 100.0, 124.0, 150.0, 180.0, 215.0)
_DIRECTIONS = 16
_ATTEMPTS = 12

_DOUBT = 25.0  # what it costs, in pixels of way, to stand as near to another point


class _Cost(NamedTuple):
    """How bad a place is: covering things is worst, then crossing them, then distance."""

    covers: int
    crosses: int
    way: float


class Box(NamedTuple):
    """A rectangle."""

    x0: float
    y0: float
    x1: float
    y1: float

    def grown(self, by: float) -> Box:
        """The rectangle with a margin around it."""
        return Box(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies in this one."""
        return (
            self.x0 <= other.x0
            and other.x1 <= self.x1
            and self.y0 <= other.y0
            and other.y1 <= self.y1
        )


class Line(NamedTuple):
    """A straight line from one place to another."""

    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, box: Box) -> bool:
        """Whether the line has a part in a box (Liang and Barsky's clipping)."""
        first, last = 0.0, 1.0
        for start, step, low, high in (
            (self.x0, self.x1 - self.x0, box.x0, box.x1),
            (self.y0, self.y1 - self.y0, box.y0, box.y1),
        ):
            if step == 0:
                if not low <= start <= high:
                    return False
                continue
            ends = sorted(((low - start) / step, (high - start) / step))
            first, last = max(first, ends[0]), min(last, ends[1])
        return first <= last

    def cuts(self, other: Line) -> bool:
        """Whether the two have one place in common, and go on beyond it on both sides."""
        return self._parts(other) and other._parts(self)

    def _parts(self, other: Line) -> bool:
        """Whether the ends of the other are on different sides of this one."""
        dx, dy = self.x1 - self.x0, self.y1 - self.y0
        first = dx * (other.y0 - self.y0) - dy * (other.x0 - self.x0)
        last = dx * (other.y1 - self.y0) - dy * (other.x1 - self.x0)
        return first * last < 0


@dataclass(frozen=True)
class Label:
    """A text to place.

    Attributes:
        x: Centre of its point.
        y: Centre of its point.
        radius: Of its point.
        width: Of the text.
        height: Of the text.
    """

    x: float
    y: float
    radius: float
    width: float
    height: float

    @property
    def point(self) -> Box:
        """The square around the point."""
        return Box(self.x, self.y, self.x, self.y).grown(self.radius)


@dataclass(frozen=True)
class Place:
    """Where a text stands.

    Attributes:
        box: Its rectangle.
        side: The side of the rectangle that stays when the text turns out narrower.
        leader: A line from the point to the text, unless the text is right at its point.
    """

    box: Box
    side: Side
    leader: Line | None


def arrange(labels: Sequence[Label], frame: Box, taken: Sequence[Box] = ()) -> list[Place]:
    """Finds a place for every label: near its point, in the frame, on nothing else.

    Each label in its turn takes the best place beside those that stand already. One that then has
    to cover or cross something goes first in the next attempt; the best attempt counts. Where there
    is no room, the least bad places are taken.

    Args:
        labels: The most important one first.
        frame: Labels stay in it.
        taken: Rectangles that are in use; one without height is a line.

    Returns:
        A place per label, in their order.
    """
    choices = [list(_places(label)) for label in labels]
    order = list(range(len(labels)))
    best: dict[int, Place] = {}
    lowest: tuple[float, ...] = (math.inf,)
    for _ in range(_ATTEMPTS):
        places: dict[int, Place] = {}
        costs: dict[int, _Cost] = {}
        for index in order:
            others = [label for i, label in enumerate(labels) if i != index]
            places[index], costs[index] = _best_place(
                choices[index], labels[index], others, list(places.values()), frame, taken
            )
        total = tuple(map(sum, zip(*costs.values(), strict=True)))
        if total < lowest:
            best, lowest = places, total
        worst = max(order, key=lambda index: costs[index])
        if not costs[worst].covers and not costs[worst].crosses:
            break
        order.remove(worst)
        order.insert(0, worst)
    return [best[index] for index in range(len(labels))]


def _best_place(
    choices: Sequence[tuple[Place, float]],
    label: Label,
    others: Sequence[Label],
    standing: Sequence[Place],
    frame: Box,
    taken: Sequence[Box],
) -> tuple[Place, _Cost]:
    points = [other.point.grown(_MARGIN) for other in others]
    boxes = [*taken, *(place.box for place in standing)]
    obstacles = [label.point, *points, *boxes]
    leaders = [place.leader for place in standing if place.leader]

    def cost(place: Place, way: float) -> _Cost:
        box = place.box.grown(_MARGIN)
        covers = sum(map(box.overlaps, obstacles)) + (not frame.holds(box))
        if covers > lowest.covers:
            return _Cost(covers, 0, way)  # out already
        crosses = sum(leader.meets(box) for leader in leaders)
        if place.leader:
            crosses += sum(map(place.leader.meets, obstacles[1:]))
            crosses += sum(map(place.leader.cuts, leaders))
        elif any(_distance(other, box) < 2 * _GAP for other in others):
            way += _DOUBT  # it could be taken for the name of the other point
        return _Cost(covers, crosses, way)

    best, lowest = None, _Cost(len(obstacles) + 2, 0, 0)  # more than can be covered
    for place, way in choices:
        if (0, 0, way) < lowest:
            found = cost(place, way)
            if found < lowest:
                best, lowest = place, found
    assert best is not None
    return best, lowest


def _places(label: Label) -> Iterator[tuple[Place, float]]:
    """The places around a point, the nearest first, each with its way to the point, in pixels."""
    for reach in _REACHES:
        for step in range(_DIRECTIONS):
            angle = 2 * math.pi * step / _DIRECTIONS
            cosine, sine = math.cos(angle), math.sin(angle)
            away = label.radius + _GAP + reach
            side: Side = "center"
            if abs(cosine) > 0.3:
                side = "left" if cosine > 0 else "right"
            shift = {"left": 0.0, "center": -label.width / 2, "right": -label.width}[side]
            x = label.x + away * cosine + shift
            y = label.y + away * sine + label.height / 2 * (sine - 1)
            box = Box(x, y, x + label.width, y + label.height)
            # The right is where a reader looks first; then the left, above and below.
            way = reach + 2 * (1 - cosine) + 4 * (step % (_DIRECTIONS // 4) != 0)
            yield Place(box, side, _leader(label, box) if reach else None), way


def _nearest(label: Label, box: Box) -> tuple[float, float]:
    return min(max(label.x, box.x0), box.x1), min(max(label.y, box.y0), box.y1)


def _distance(label: Label, box: Box) -> float:
    x, y = _nearest(label, box)
    return math.hypot(x - label.x, y - label.y) - label.radius


def _leader(label: Label, box: Box) -> Line:
    x, y = _nearest(label, box)
    start = label.radius / math.hypot(x - label.x, y - label.y)
    return Line(label.x + (x - label.x) * start, label.y + (y - label.y) * start, x, y)
