"""A trace of training steps with marks at their borders."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from .timing import synchronize
from .trace import STEP


@dataclass
class StepMarks:
    """Traces steps, called after every step: marks their borders for ``read_trace``.

    Attributes:
        device: Device of the steps.
        path: File of the trace.
        warmup: Number of steps before the trace.
        steps: Number of steps in the trace.
    """

    device: torch.device
    path: Path
    warmup: int
    steps: int
    _done: int = field(default=0, init=False)
    _profile: profile | None = field(default=None, init=False)

    def __call__(self) -> bool:
        """Counts a step; returns whether the trace is written."""
        self._done += 1
        if self._done == self.warmup:
            synchronize(self.device)
            activities = [ProfilerActivity.CPU]
            if self.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profile = profile(activities=activities)
            self._profile.start()
        if self._profile is None:
            return False
        with record_function(STEP):
            pass
        if self._done < self.warmup + self.steps:
            return False
        synchronize(self.device)
        self._profile.stop()
        self._profile.export_chrome_trace(str(self.path))
        return True
