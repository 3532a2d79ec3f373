"""The one exception tree. Every message names the thing, what is wrong with it, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
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


class QATError(FinchError):
    """Quantization-aware training lacks a requirement, or does not fit the model."""


class MeasurementError(FinchError):
    """A candidate could not be run or timed."""


class DeviceError(MeasurementError):
    """A device cannot be reached, or cannot measure anything at all."""


class SelectionError(FinchError):
    """No candidate meets the budget, or the measurements do not allow a choice."""


class Stopped(Exception):
    """Long work was asked to stop, and stopped between two steps.

    Args:
        kept: What has been saved, and from where the next run resumes; for a person.
    """

    def __init__(self, kept: str) -> None:
        self.kept = kept
        super().__init__(f"stopped; {kept}")


def one_of(name: str, known: Iterable[str], what: str) -> str:
    """Returns ``name`` if it is one of the known names.

    Args:
        name: As the user wrote it.
        known: All valid names.
        what: What the name denotes, for the message.

    Raises:
        ValueError: The name is unknown. The message lists close matches, or all known names.
    """
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise ValueError(f"{name!r} is not a known {what} ({hint})")
    return name
