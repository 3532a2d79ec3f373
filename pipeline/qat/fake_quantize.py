"""The student with int8 in its forward pass, still learning in float.

NNCF puts a quantiser before every operation that a runtime computes in integers and one on every
weight. Their ranges start at what calibration images give, as those of the int8 candidates do, and
learn on with the weights: a rounding passes gradients as if it were not there.

Weights use 7 of their 8 bits but for depthwise ones, and activations are asymmetric, for the
reasons given in ``pipeline.quantize.onnxruntime``. The preprocessing and the logits stay in float.
Batch norms are folded beforehand; those that cannot be keep their statistics.

Two things are not as NNCF would have them, for the sake of ONNX Runtime, which otherwise computes
in float and takes three times as long as with no quantiser at all. An activation has one range,
not one a channel. And a range never grows, by however little: one that reaches beyond the 6 of a
ReLU6 no longer makes the ReLU6 superfluous, and what stands between a convolution and its
quantiser keeps it from integers.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.models.classifier import Classifier, Spec
from pipeline.qat.fold_batch_norm import fold_batch_norms
from pipeline.quiet import quiet
from pipeline.views import to_unit_range

_BATCH = 16

log = logging.getLogger(__name__)


class _Held(nn.Module):
    """NNCF keeps its quantisers below the root, where a sequential network would call them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixels)
        return logits


class FakeQuantized(Classifier):
    """A classifier whose backbone computes as int8 would; its batch norms learn no statistics."""

    def __init__(self, backbone: nn.Module, spec: Spec) -> None:
        super().__init__(backbone, spec)
        for quantizer in _ranged(backbone):
            low, width = quantizer.input_low.detach(), quantizer.input_range.detach()
            quantizer.register_buffer("lowest", low.clone(), persistent=False)
            quantizer.register_buffer("highest", low + width, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Classifies the images, with no range wider than it was at the start."""
        _narrow(self.backbone)
        return super().forward(images)

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but batch norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def native(self) -> nn.Module:
        """A copy of the backbone with torch's own fake quantisation, which exports as QDQ."""
        import nncf

        size = self.spec.image_size
        backbone = copy.deepcopy(self.backbone).cpu().eval()
        _narrow(backbone)
        with quiet(log):
            stripped: nn.Module = nncf.strip(
                backbone, do_copy=False, example_input=torch.zeros(1, 3, size, size)
            )
        return stripped


def _ranged(backbone: nn.Module) -> Iterator[Any]:
    """NNCF's quantisers of activations: a lower end and a width, both learned."""
    from nncf.torch.quantization.layers import AsymmetricQuantizer

    return (module for module in backbone.modules() if isinstance(module, AsymmetricQuantizer))


@torch.no_grad()
def _narrow(backbone: nn.Module) -> None:
    for quantizer in _ranged(backbone):
        low, width = quantizer.input_low, quantizer.input_range
        high = torch.minimum(low + width, quantizer.highest)
        low.copy_(torch.maximum(low, quantizer.lowest))
        width.copy_(high - low)


def fake_quantize(student: Classifier, calibration: NDArray[np.uint8]) -> FakeQuantized:
    """Post-training quantisation of a student, made to learn on.

    The same student and images give the same weights and ranges.

    Args:
        student: On the CPU; it is copied, not changed.
        calibration: Training images that set the ranges, uint8 [n, size, size, 3] RGB.

    Raises:
        QATError: The student's batch norms cannot be folded.
    """
    turn_off()
    import nncf
    import rich
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
        QuantizationParameters,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    backbone = copy.deepcopy(student.backbone).eval()

    def normalised(start: int) -> Tensor:
        pixels = to_unit_range(calibration[start : start + _BATCH], torch.device("cpu"))
        return (pixels - student.mean) / student.std

    batches = range(0, len(calibration), _BATCH)
    folded = fold_batch_norms(backbone, normalised(0))
    log.debug("%d batch norms folded", folded)
    nncf.disable_logging()
    console = rich.get_console()  # NNCF's progress bars go there
    before, console.quiet = console.quiet, True
    try:
        with quiet(log):
            quantized = nncf.quantize(
                _Held(backbone),
                nncf.Dataset(batches, normalised),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(batches),
                advanced_parameters=AdvancedQuantizationParameters(
                    overflow_fix=OverflowFix.ENABLE,
                    activations_quantization_params=QuantizationParameters(per_channel=False),
                    activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                ),
            )
    finally:
        console.quiet = before
    return FakeQuantized(quantized, student.spec).eval()
