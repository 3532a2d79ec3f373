"""Accuracy against latency on one device, and the front: the models that no other one beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.measure.evaluation import Evaluation, Measured
from pipeline.report.charts import Estimate, Spot, front_plot
from pipeline.report.document import Block, blocks
from pipeline.report.formats import percent
from pipeline.statistics import Proportion


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the items that no other one beats, cheapest first.

    An item is beaten by one that costs at most as much and is worth at least as much, and is better
    in one of the two. Of equal items, all are kept.
    """
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i], i)):
        last = front[-1] if front else None
        equal = last is not None and (costs[index], values[index]) == (costs[last], values[last])
        if last is None or values[index] > values[last] or equal:
            front.append(index)
    return front


def accuracy_estimate(accuracy: float, images: int) -> Estimate:
    """An accuracy in percent with its exact 95 % confidence interval.

    Args:
        accuracy: Fraction of correctly classified images.
        images: Number of images.
    """
    found = Proportion(round(accuracy * images), images)
    return Estimate(100 * found.value, 100 * found.low, 100 * found.high)


def front_figure(on: Evaluation, kind: Callable[[Measured], str], *, name: str) -> Block:
    """A chart of all models that were measured on a device.

    Args:
        on: The measurements.
        kind: Returns the kind of a model, see ``charts.Spot``.
        name: Prefix of the ids in the chart.
    """
    models = on.measured
    spots = [
        Spot(m.name, kind(m), m.latency.p50_ms, accuracy_estimate(m.accuracy, on.images))
        for m in models
    ]
    front = pareto_front([m.latency.p50_ms for m in models], [m.accuracy for m in models])
    listed = ", ".join(
        f"{models[i].name} ({models[i].latency.p50_ms:.3f} ms, {percent(models[i].accuracy)} %)"
        for i in front
    )
    title = (
        f"Validation accuracy against median latency of {len(models)} models on {on.device}. No "
        f"other model is at least as fast and as accurate as these: {listed}."
    )
    caption = (
        f"{on.device}: {on.images:,} validation images. Vertical lines: 95 % CI. The line is the "
        "front: no other model is both faster and more accurate than a model on it."
    )
    chart = front_plot(spots, front, name=name, title=title)
    return blocks.figure(chart, caption, {spot.kind: spot.kind for spot in spots})
