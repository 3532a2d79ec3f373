"""Reliability diagrams of the shipped model, before and after temperature scaling."""

from pipeline.plugins import SECTIONS
from pipeline.report.charts import plot_reliability, to_svg
from pipeline.report.document import Part, blocks
from pipeline.report.facts import Facts
from pipeline.report.formats import decimal, percent
from pipeline.report.sections import section


@SECTIONS.register("reliability")
@section("Reliability", order=56)
def reliability(facts: Facts) -> list[Part]:
    """Accuracy by confidence on the test images."""
    measured = {"as shipped": facts.verified.reliability, "scaled": facts.verified.scaled}
    temperature = decimal(facts.verified.scaled.temperature)
    before, after = (percent(each.calibration_error) for each in measured.values())
    charts = []
    for name, found in measured.items():
        error = f"expected calibration error {percent(found.calibration_error)} points"
        title = f"Reliability of the shipped model, {name}: {error}."
        svg = to_svg(plot_reliability(found.bins), name=f"reliability-{name[:2]}", title=title)
        charts.append(blocks.figure(svg, f"{name.capitalize()}: {error}"))
    return [
        "Confidence is the softmax probability of the predicted class. A model is calibrated if "
        "the accuracy of the images with a confidence equals it, which is the diagonal. Logits "
        f"divided by {temperature}, the temperature with the lowest cross-entropy on the "
        "validation images, give the same predictions; they change the expected calibration error "
        f"on the test images from {before} to {after} percentage points.",
        blocks.columns(charts),
    ]
