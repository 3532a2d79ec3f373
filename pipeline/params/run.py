"""Parameters of the run: device, seed, threads and checkpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.plugins.section import AboveZero, Section


class Run(Section):
    """Device, seed, threads and checkpoints of every stage."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Training device; `auto` is CUDA, else MPS, else the CPU."
    )
    seed: int = Field(0, ge=0, description="Seed of initial weights and order of the images.")
    threads: int = Field(0, ge=0, description="CPU threads of training; 0 is one per core.")
    checkpoint_minutes: AboveZero = Field(
        5.0,
        description="Minutes between checkpoints within an epoch; every epoch ends with one too.",
    )
