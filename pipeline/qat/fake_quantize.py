"""The student with fake quantization: int8 in the forward pass, float weights underneath.

NNCF inserts a quantizer before every operation that a runtime computes in integers, and one on
every weight. Ranges are initialized from calibration images, as for the int8 candidates, and are
trained with the weights (straight-through estimator).

Weights use 7 of 8 bits except in depthwise layers, and activations are asymmetric, for the reasons
in ``pipeline.quantize.runtimes.onnxruntime``. Preprocessing and logits stay in float. Batch norms
are folded first; those that cannot be folded keep their statistics.

Two choices differ from NNCF's defaults, because ONNX Runtime otherwise falls back to float, three
times slower than without any quantizer. Activations are quantized per tensor. And a range never
grows: above the 6 of a ReLU6, the ReLU6 could not be removed, and any operation between a
convolution and its quantizer keeps the convolution in float.
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


class _Root(nn.Module):
    """NNCF adds its quantizers to the root module, where nn.Sequential would call them."""

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
        """Logits, after clipping every range to its initial one."""
        _clip_ranges(self.backbone)
        return super().forward(images)

    def train(self, mode: bool = True) -> Self:
        """Sets training mode except in batch norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def strip(self) -> nn.Module:
        """A copy of the backbone on the CPU, with torch's FakeQuantize in place of NNCF's."""
        import nncf

        size = self.spec.image_size
        backbone = copy.deepcopy(self.backbone).cpu().eval()
        _clip_ranges(backbone)
        with quiet(log):
            stripped: nn.Module = nncf.strip(
                backbone, do_copy=False, example_input=torch.zeros(1, 3, size, size)
            )
        return stripped


def _activation_quantizers(backbone: nn.Module) -> Iterator[Any]:
    """NNCF's quantizers of activations, with trainable ``input_low`` and ``input_range``."""
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
    """Inserts fake quantization, with ranges from post-training quantization; deterministic.

    Args:
        student: Student on the CPU; not changed.
        calibration: Calibration images, uint8 [n, size, size, 3] RGB.

    Raises:
        QATError: The batch norms cannot be folded.
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

    def preprocess(start: int) -> Tensor:
        pixels = to_unit_range(calibration[start : start + _BATCH], torch.device("cpu"))
        return (pixels - student.mean) / student.std

    batches = range(0, len(calibration), _BATCH)
    log.debug("folded %d batch norms", fold_batch_norms(backbone, preprocess(0)))
    nncf.disable_logging()
    console = rich.get_console()  # NNCF prints its progress bars there
    before, console.quiet = console.quiet, True
    try:
        with quiet(log):
            quantized = nncf.quantize(
                _Root(backbone),
                nncf.Dataset(batches, preprocess),
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
    return FakeQuantizedClassifier(quantized, student.spec).eval()
