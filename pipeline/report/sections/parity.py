"""Differences between the exported ONNX files and the PyTorch models."""

from pipeline.plugins import SECTIONS
from pipeline.report.document import Part
from pipeline.report.facts import Facts
from pipeline.report.formats import percent, value
from pipeline.report.sections import section
from pipeline.report.table import Column, make_table


@SECTIONS.register("parity")
@section("Parity", order=80)
def parity(facts: Facts) -> list[Part]:
    """One row per file and batch size, including files from quantization-aware training."""
    files = {f"{name}.onnx": found for name, found in facts.parity.items()}
    if facts.qat:
        files |= {f"qat/{name}.onnx": found for name, found in facts.qat.parity.items()}
    rows = [
        (name, found.images, difference)
        for name, found in files.items()
        for difference in found.differences
    ]
    table = make_table(
        "Differences between ONNX and PyTorch",
        rows,
        [
            Column("File", lambda row: row[0], numeric=False),
            Column("Batch size", lambda row: str(row[2].batch)),
            Column("Images", lambda row: f"{row[1]:,}"),
            Column("Logits", lambda row: f"{row[2].relative:.1e}", "largest relative difference"),
            Column("Logits", lambda row: f"{row[2].absolute:.1e}", "largest difference"),
            Column("Probabilities", lambda row: f"{row[2].probability:.1e}", "largest difference"),
            Column("Same top-1 class", lambda row: percent(row[2].agreement), "%"),
        ],
    )
    return [
        "The exported files, run by ONNX Runtime, compared with the PyTorch models on validation "
        f"images. Tolerance: {value(facts.params.export.tolerance)} of the image's largest "
        "absolute logit, and the same absolute difference for probabilities.",
        table,
        *(
            f"{name} was reparameterized: its network has the form for inference. The logits of "
            f"the two forms differ by up to {found.reparameterized:.1e} of the largest."
            for name, found in files.items()
            if found.reparameterized is not None
        ),
    ]
