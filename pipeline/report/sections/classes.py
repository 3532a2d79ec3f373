"""Recall per class on the test images."""

from pipeline.plugins import SECTIONS
from pipeline.report.document import Part
from pipeline.report.facts import Facts
from pipeline.report.formats import percent
from pipeline.report.sections import section
from pipeline.report.table import Column, Row, make_table


@SECTIONS.register("classes")
@section("Recall per class", order=50)
def classes(facts: Facts) -> list[Part]:
    """One row per class for shipped model, fp32 student and teacher."""
    verified = facts.verified
    models = (verified.shipped, verified.student, verified.teacher)
    counts = facts.dataset.splits["test"].per_class
    names = facts.dataset.classes
    table = make_table(
        "Recall per class",
        range(len(names)),
        [
            Column("Class", lambda label: names[label], numeric=False),
            Column("Images", lambda label: f"{counts[label]:,}"),
            Column("Shipped", lambda label: percent(verified.shipped.recalls[label]), "%"),
            Column("fp32 student", lambda label: percent(verified.student.recalls[label]), "%"),
            Column("Teacher", lambda label: percent(verified.teacher.recalls[label]), "%"),
        ],
        footer=[
            Row(["Accuracy", f"{verified.images:,}", *(percent(m.accuracy) for m in models)]),
            Row(["Balanced accuracy", "", *(percent(m.balanced_accuracy) for m in models)]),
        ],
    )
    return [
        "Recall: the fraction of a class's test images that is classified correctly. Balanced "
        "accuracy: the mean recall over the classes.",
        table,
    ]
