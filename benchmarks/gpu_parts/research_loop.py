"""Distillation as research code writes it, to compare with."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Self

import torch
from pairs import Pair
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from pipeline.data.prepared import Split
from pipeline.losses import KDLoss
from pipeline.training.optimizer import build_optimizer

MAX_WORKERS = 16


class _Photos(Dataset[tuple[Tensor, int]]):
    """Images in memory, with one random transform per image."""

    def __init__(self, split: Split, transform: transforms.Compose) -> None:
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.split.images[index])
        return self.transform(image), int(self.split.labels[index])


class ResearchLoop:
    """KD with the teacher in every step, in fp32 (TF32 in convolutions, torch's default).

    A DataLoader transforms one image at a time in its worker processes. The loss is read back in
    every step. The images are in memory; nothing is decoded.
    """

    def __init__(self, pair: Pair, device: torch.device) -> None:
        self.device = device
        self.teacher = pair.network(pair.teacher, device)
        self.student = pair.network(pair.student, device).train()
        self.optimizer = build_optimizer(self.student, pair.recipe())
        self.loss = KDLoss().to(device)
        self.loader = DataLoader(
            _Photos(pair.split, _transform(pair.size)),
            pair.batch,
            shuffle=True,
            num_workers=min(MAX_WORKERS, os.cpu_count() or 1),
            pin_memory=device.type == "cuda",
            persistent_workers=True,
            multiprocessing_context="fork",
            drop_last=True,
        )
        self.total = 0.0

    def __enter__(self) -> Self:
        self._batches = self._forever()
        return self

    def __exit__(self, *error: object) -> None:
        self._batches.close()
        del self.loader  # ends the workers

    def _forever(self) -> Generator[list[Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> None:
        """One training step."""
        pixels, labels = next(self._batches)
        pixels = pixels.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        with torch.no_grad():
            teacher = self.teacher(pixels)
        loss = self.loss(self.student(pixels), teacher, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.total += loss.item()


def _transform(size: int) -> transforms.Compose:
    """Normalization is left out, since Finch's networks contain it."""
    small = size <= 32
    crop = transforms.RandomCrop(size, 4) if small else transforms.RandomResizedCrop(size)
    return transforms.Compose([crop, transforms.RandomHorizontalFlip(), transforms.ToTensor()])
