"""How every stage runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.plugins.section import AboveZero, Section


class Run(Section):
    """How every stage runs; none of it changes what a result means."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where training runs; `auto` takes CUDA, then MPS, then the CPU."
    )
    seed: int = Field(0, ge=0, description="Seed of initial weights and of the batches' order.")
    threads: int = Field(0, ge=0, description="CPU threads for training; 0 is one per core.")
    checkpoint_minutes: AboveZero = Field(
        5.0,
        description="Minutes between checkpoints of a training; there is one after each epoch too.",
    )
