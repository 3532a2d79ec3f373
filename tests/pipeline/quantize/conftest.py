"""A small exported student whose predictions differ between images, and images for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.export.onnx_export import export_onnx
from pipeline.models.classifier import Spec

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SIZE = 32

Images = NDArray[np.uint8]
Exported = dict[Literal["dynamic", 1], Path]


class Student(nn.Module):
    """An inverted residual block of MobileNetV2, and a classifier."""

    def __init__(self) -> None:
        super().__init__()

        def block(into: int, out: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
            convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups)
            return nn.Sequential(convolution, nn.BatchNorm2d(out))

        self.stem = nn.Sequential(block(3, 24, 3, 2, 1), nn.ReLU6(), block(24, 32, 1, 1, 1))
        self.residual = nn.Sequential(
            *(block(32, 192, 1, 1, 1), nn.ReLU6()),
            *(block(192, 192, 3, 1, 192), nn.ReLU6()),
            block(192, 32, 1, 1, 1),
        )
        self.head = nn.Sequential(block(32, 256, 1, 1, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(256, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.stem(pixels)
        logits: Tensor = self.classifier(self.head(features + self.residual(features)).flatten(1))
        return logits


def random_images(count: int, seed: int) -> Images:
    """Colored patches of various contrasts, with noise."""
    random = np.random.default_rng(seed)
    patches = random.normal(0, 1, (count, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    patches *= random.uniform(10, 70, (count, 1, 1, 1))
    noise = random.normal(0, 12, (count, SIZE, SIZE, 3))
    level = random.uniform(60, 190, (count, 1, 1, 3))
    return (level + patches + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def calibration() -> Images:
    return random_images(50, seed=1)


@pytest.fixture(scope="session")
def images() -> Images:
    """Images that are not used for calibration."""
    return random_images(96, seed=2)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    student = Student()
    pixels = torch.from_numpy(random_images(128, seed=3)).permute(0, 3, 1, 2) / 255
    pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        for _ in range(20):
            student(pixels)  # updates the statistics of the batch norms
        logits = student.eval()(pixels)
        scale = 3 / logits.std(dim=0)  # so that each class is predicted for some images
        student.classifier.weight *= scale[:, None]
        student.classifier.bias.copy_((student.classifier.bias - logits.mean(dim=0)) * scale)
    folder = tmp_path_factory.mktemp("onnx")
    files: Exported = {"dynamic": folder / "student.onnx", 1: folder / "student-b1.onnx"}
    spec = Spec("student", tuple("abcde"), SIZE, MEAN, STD)
    for batch, path in files.items():
        export_onnx(student, spec, path, batch=batch, opset=18)
    return files
