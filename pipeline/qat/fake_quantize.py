"""The student with fake quantization, inserted by NNCF.

NNCF inserts a quantizer for every weight and before every operation that a runtime computes in
integers. Quantization ranges are initialized from calibration images, as for the int8 candidates,
and are trained together with the float weights (straight-through estimator).

Weights use 7 of 8 bits except in depthwise layers, and activations are asymmetric, for the reasons
in ``pipeline.quantize.runtimes.onnxruntime``. Preprocessing and logits stay in float. Batch norms
are folded first; those that cannot be folded keep their statistics.

Two settings differ from NNCF's defaults, because ONNX Runtime would otherwise compute convolutions
in float, three times slower than in the fp32 model. Activations are quantized per tensor. Ranges
can only shrink: with a range above 6, a ReLU6 cannot be removed, and an operation between a
convolution and its quantizer keeps the convolution in float.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from finch_runtime.image_size import height_and_width
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.models.classifier import Classifier, Spec
from pipeline.models.reparameterize import inference_form
from pipeline.qat.fold_batch_norm import fold_batch_norms
from pipeline.quiet import quiet
from pipeline.views import to_unit_range

_BATCH = 16

log = logging.getLogger(__name__)


class _Root(nn.Module):
    """Root module to which NNCF adds its quantizers; an nn.Sequential would call them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixels)
        return logits


class FakeQuantizedClassifier(Classifier):
    """A classifier with a fake-quantized backbone; its batch norm statistics are frozen."""

    def __init__(self, backbone: nn.Module, spec: Spec) -> None:
        super().__init__(backbone, spec)
        for quantizer in _activation_quantizers(backbone):
            low, width = quantizer.input_low.detach(), quantizer.input_range.detach()
            quantizer.register_buffer("lowest", low.clone(), persistent=False)
            quantizer.register_buffer("highest", low + width, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, after clipping every range to its initial range."""
        _clip_ranges(self.backbone)
        return super().forward(images)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of all modules except batch norms, which stay in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def strip(self) -> nn.Module:
        """A copy of the backbone on the CPU, with torch's FakeQuantize instead of NNCF's."""
        import nncf

        backbone = copy.deepcopy(self.backbone).cpu().eval()
        example = torch.zeros(1, self.spec.channels, *height_and_width(self.spec.image_size))
        _clip_ranges(backbone)
        with quiet(log):
            stripped: nn.Module = nncf.strip(backbone, do_copy=False, example_input=example)
        return stripped


def _activation_quantizers(backbone: nn.Module) -> Iterator[Any]:
    """NNCF's activation quantizers, with trainable ``input_low`` and ``input_range``."""
    from nncf.torch.quantization.layers import AsymmetricQuantizer

    return (module for module in backbone.modules() if isinstance(module, AsymmetricQuantizer))


@torch.no_grad()
def _clip_ranges(backbone: nn.Module) -> None:
    for quantizer in _activation_quantizers(backbone):
        low, width = quantizer.input_low, quantizer.input_range
        high = torch.minimum(low + width, quantizer.highest)
        low.copy_(torch.maximum(low, quantizer.lowest))
        width.copy_(high - low)


def fake_quantize(student: Classifier, calibration: NDArray[np.uint8]) -> FakeQuantizedClassifier:
    """Inserts fake quantization, with ranges from post-training quantization. Deterministic.

    A network with a form for inference is converted to it first, see ``inference_form``.

    Args:
        student: Student on the CPU; not modified.
        calibration: Calibration images, uint8 [n, height, width, channels].

    Raises:
        QATError: The batch norms cannot be folded.
    """
    turn_off()
    import nncf
    import rich
    from nncf.quantization.advanced_parameters import QuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    def preprocess(start: int) -> Tensor:
        pixels = to_unit_range(calibration[start : start + _BATCH], torch.device("cpu"))
        return (pixels - student.mean) / student.std

    form = inference_form(student.backbone, preprocess(0))
    if form.problem:
        log.warning("the student is quantized in its training form: %s", form.problem)
    backbone = form.network
    batches = range(0, len(calibration), _BATCH)
    log.debug("folded %d batch norms", fold_batch_norms(backbone, preprocess(0)))
    nncf.disable_logging()
    console = rich.get_console()  # used by NNCF's progress bars
    before, console.quiet = console.quiet, True
    try:
        with quiet(log):
            quantized = nncf.quantize(
                _Root(backbone),
                nncf.Dataset(batches, preprocess),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(batches),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    overflow_fix=nncf.OverflowFix.ENABLE,
                    activations_quantization_params=QuantizationParameters(per_channel=False),
                    activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                ),
            )
    finally:
        console.quiet = before
    return FakeQuantizedClassifier(quantized, student.spec).eval()
