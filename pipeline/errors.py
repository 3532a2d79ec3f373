"""The one exception tree. Every message names the thing, what is wrong with it, and what to do."""

from __future__ import annotations

from pathlib import Path


class FinchError(Exception):
    """Anything a user can cause or mend. Shown as one line, without a traceback.

    Args:
        thing: What the message is about: a parameter's key, a file, a class name.
        problem: What is wrong with it, with the offending value and what is allowed.
        remedy: What to do about it.
    """

    def __init__(self, thing: object, problem: str, remedy: str = "") -> None:
        self.thing = thing
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{thing}: {problem}" + (f"; {remedy}" if remedy else ""))


class ParameterError(FinchError):
    """A parameter is unknown, of the wrong type, impossible, or at odds with another one."""


class DataError(FinchError):
    """The photographs, their labels or their splits cannot be used as they are."""


class ArtefactError(FinchError):
    """A file of an earlier stage is missing, truncated, or was made from something else."""

    def __init__(self, path: Path, problem: str, remedy: str = "") -> None:
        self.path = path
        super().__init__(path, problem, remedy)


class TrainingError(FinchError):
    """Training cannot go on: a loss that is not finite, logits of the wrong shape."""


class ExportError(FinchError):
    """The exported file does not compute what the PyTorch model computes."""


class QuantizationError(FinchError):
    """A candidate cannot be made as described."""


class RecoveryError(FinchError):
    """What quantisation took cannot be learned back: something is missing, or does not fit."""


class MeasurementError(FinchError):
    """A candidate could not be run or timed."""


class DeviceError(MeasurementError):
    """A device cannot be reached, or cannot measure anything at all."""


class SelectionError(FinchError):
    """No candidate meets the budget, or the measurements do not allow a choice."""
