"""How far one int8 student is from itself, where its floats add up in another order.

    python benchmarks/rounding.py --project FOLDER

Takes the student and the prepared data of a finished run, quantises it as the recovery stage does
before it learns, and exports it. Printed is how far the logits of validation images are apart, for
pairs that differ in nothing but the order of sums, and, to compare, what int8 itself moves them by:
root mean square, largest relative to the largest |logit| of its image, images of the same class.
At last file and PyTorch are held to one another at each rounding.
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
from pipeline.export.parity import normalised, parity_images
from pipeline.models.classifier import load_classifier
from pipeline.params import load_params
from pipeline.qat.fake_quantize import fake_quantize
from pipeline.qat.parity import check_roundings
from pipeline.qat.qdq_export import export_qdq
from pipeline.qat.requirements import check_requirements, compile_kernels
from pipeline.quantize.calibration import draw_calibration

Logits = NDArray[np.float32]
LEVELS = onnxruntime.GraphOptimizationLevel


def main() -> None:
    """Prints a line a pair."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--project", type=Path, default=Path())
    asked = parser.parse_args()
    turn_off()
    check_requirements()
    compile_kernels()

    params = load_params(asked.project / "params.yaml")
    data = open_prepared(asked.project / "data/prepared")
    student, about = load_classifier(asked.project / "models/student", torch.device("cpu"))
    count = params.quantize.calibration_images
    calibration = draw_calibration(data.split("train"), count, params.run.seed)
    int8, fp32 = fake_quantize(student, calibration).native(), student.backbone
    images, spec = parity_images(data.split("val")), student.spec
    print(f"{about['architecture']}, {len(images)} validation images")

    def asks(model: nn.Module) -> Logits:
        with torch.inference_mode():
            logits: Logits = model(normalised(images, spec.mean, spec.std)).numpy()
        return logits

    def compare(what: str, these: Logits, those: Logits) -> None:
        apart = np.abs(these - those)
        relative = (apart / np.abs(those).max(axis=1, keepdims=True)).max()
        same = (these.argmax(axis=1) == those.argmax(axis=1)).sum()
        print(f"{what:<48} {np.sqrt((apart**2).mean()):8.2g} {relative:8.2g} {same:4d}")

    print(f"{'logits of':<48} {'rms':>8} {'largest':>8} same")
    exact, rounded = asks(fp32), asks(int8)
    compare("PyTorch int8, PyTorch fp32", rounded, exact)
    with torch.backends.mkldnn.flags(enabled=False):
        compare("PyTorch fp32, with and without oneDNN", asks(fp32), exact)
        compare("PyTorch int8, with and without oneDNN", asks(int8), rounded)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        export_qdq(int8, spec.mean, spec.std, spec.image_size, path, batch="dynamic", opset=18)

        def runs(level: onnxruntime.GraphOptimizationLevel) -> Logits:
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = level
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            logits: Logits = session.run(["logits"], {"images": images})[0]
            return logits

        written = runs(LEVELS.ORT_DISABLE_ALL)
        compare("ONNX Runtime as written, PyTorch int8", written, rounded)
        compare(
            "ONNX Runtime optimised, ONNX Runtime as written",
            runs(LEVELS.ORT_ENABLE_ALL),
            written,
        )
        held = check_roundings(int8, spec.mean, spec.std, path, images, tolerance=1e-4).worst
    print(f"{'held at each rounding: as written, PyTorch int8':<48} {'':8} {held.relative:8.2g}")


if __name__ == "__main__":
    main()
