"""The steps that benchmarks/gpu.py compares training with, on a GPU that computes no values."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from tests.fake_gpu import GPU, fake_gpu, on_gpu

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_bare_loop_does_not_wait_for_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    throughput = importlib.import_module("gpu_parts.throughput")
    pair = throughput.TINY_PAIRS[0]
    with fake_gpu() as waits:
        step = on_gpu(lambda: throughput.bare_step(pair, GPU, torch.bfloat16))
        step()  # creates the state of the optimizer
        before = [*waits.reads, *waits.writes]
        step()
        assert [*waits.reads, *waits.writes] == before
