"""How much float rounding changes the logits of one int8 student.

    python benchmarks/rounding.py --project FOLDER

Quantizes the student of a finished run as the stage qat does before training, and exports it.
Printed are differences of logits on validation images, for pairs that only differ in the order of
sums and, for comparison, between int8 and fp32: root mean square, largest relative to the largest
|logit| of its image, and number of images with the same top-1 class. The last line is the parity
of file and PyTorch when they are compared at every quantizer.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from finch_runtime.telemetry import turn_off
from numpy.typing import NDArray
from torch import nn

from pipeline.data.prepared import open_prepared
from pipeline.export.parity import normalize_images, parity_images
from pipeline.models.classifier import load_classifier
from pipeline.params import load_params
from pipeline.qat.fake_quantize import fake_quantize
from pipeline.qat.parity import check_qdq_parity
from pipeline.qat.qdq_export import export_qdq
from pipeline.qat.requirements import check_requirements, compile_kernels
from pipeline.quantize.calibration import sample_calibration

Logits = NDArray[np.float32]
LEVELS = onnxruntime.GraphOptimizationLevel


def main() -> None:
    """Prints one line per pair."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--project", type=Path, default=Path())
    args = parser.parse_args()
    turn_off()
    check_requirements()
    compile_kernels()

    params = load_params(args.project / "params.yaml")
    data = open_prepared(args.project / "data/prepared")
    student, about = load_classifier(args.project / "models/student", torch.device("cpu"))
    count = params.quantize.calibration_images
    calibration = sample_calibration(data.split("train"), count, params.run.seed)
    int8, fp32 = fake_quantize(student, calibration).strip(), student.backbone
    images, spec = parity_images(data.split("val")), student.spec
    print(f"{about['architecture']}, {len(images)} validation images")

    def logits_of(model: nn.Module) -> Logits:
        with torch.inference_mode():
            logits: Logits = model(normalize_images(images, spec)).numpy()
        return logits

    def compare(pair: str, a: Logits, b: Logits) -> None:
        difference = np.abs(a - b)
        relative = (difference / np.abs(b).max(axis=1, keepdims=True)).max()
        same = (a.argmax(axis=1) == b.argmax(axis=1)).sum()
        print(f"{pair:<48} {np.sqrt((difference**2).mean()):8.2g} {relative:8.2g} {same:4d}")

    print(f"{'logits of':<48} {'rms':>8} {'largest':>8} same")
    exact, rounded = logits_of(fp32), logits_of(int8)
    compare("PyTorch int8, PyTorch fp32", rounded, exact)
    with torch.backends.mkldnn.flags(enabled=False):
        compare("PyTorch fp32, with and without oneDNN", logits_of(fp32), exact)
        compare("PyTorch int8, with and without oneDNN", logits_of(int8), rounded)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        export_qdq(int8, spec, path, batch="dynamic", opset=18)

        def run(level: onnxruntime.GraphOptimizationLevel) -> Logits:
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = level
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            logits: Logits = session.run(["logits"], {"images": images})[0]
            return logits

        written = run(LEVELS.ORT_DISABLE_ALL)
        compare("ONNX Runtime without optimizations, PyTorch int8", written, rounded)
        compare(
            "ONNX Runtime with, without optimizations",
            run(LEVELS.ORT_ENABLE_ALL),
            written,
        )
        parity = check_qdq_parity(int8, spec, path, images, tolerance=1e-4).worst
    print(f"{'compared at every quantizer':<48} {'':8} {parity.relative:8.2g}")


if __name__ == "__main__":
    main()
