"""The fake-quantised student as an ONNX file with int8 weights between QDQ pairs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from pipeline.errors import ExportError
from pipeline.export import INPUT, OUTPUTS, WithPreprocessing
from pipeline.files import whole_file
from pipeline.quiet import quiet

# The newest that PyTorch's exporter of fake quantisation writes.
_NEWEST_OPSET = 20

log = logging.getLogger(__name__)


def export_qdq(
    model: torch.nn.Module,
    mean: Sequence[float],
    std: Sequence[float],
    image_size: int,
    path: Path,
    *,
    batch: Literal["dynamic", 1],
    opset: int,
) -> None:
    """Writes a recovered student with the input and outputs that ``export_onnx`` gives.

    The same model gives the same bytes.

    Args:
        model: What ``FakeQuantized.native`` gives. It is copied, not changed.
        mean: Mean of each RGB channel, for pixels in 0…1.
        std: Standard deviation of each RGB channel, for pixels in 0…1.
        image_size: Height and width in pixels.
        path: The file to write.
        batch: ``dynamic``, or 1 for a file that takes one image at a time.
        opset: ONNX operator set; 20 if it is newer.

    Raises:
        ExportError: The model holds something that ONNX cannot express.
    """
    import onnx
    import onnx_ir
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from onnxscript.optimizer import fold_constants

    whole = WithPreprocessing(model, mean, std)
    example = torch.zeros(1 if batch == 1 else 2, image_size, image_size, 3, dtype=torch.uint8)
    names = (INPUT, *OUTPUTS)
    with whole_file(path) as temporary:
        try:
            with quiet(log), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # The exporter by torch.export does not know fake quantisation.
                torch.onnx.export(
                    whole,
                    (example,),
                    temporary,
                    dynamo=False,
                    input_names=[INPUT],
                    output_names=list(OUTPUTS),
                    opset_version=min(opset, _NEWEST_OPSET),
                    dynamic_axes=None if batch == 1 else {name: {0: "batch"} for name in names},
                )
        except (torch.onnx.OnnxExporterError, RuntimeError) as error:
            said = str(error).strip().partition("\n")[0]
            raise ExportError(
                path.name,
                f"PyTorch cannot write the recovered student as ONNX ({said})",
                "set recover.epochs to 0, or take another distill.model",
            ) from error
        program = onnx_ir.load(temporary)
        # Weights come as floats to be quantised whenever the file is opened: four times the size.
        fold_constants(
            program,
            input_size_limit=2**62,
            output_size_limit=2**62,
            should_fold=lambda node: node.op_type != "DequantizeLinear",
        )
        ClearMetadataAndDocStringPass()(program)
        onnx_ir.save(program, temporary)
        onnx.checker.check_model(temporary, full_check=True)
