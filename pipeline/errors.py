"""All exceptions. A message consists of a subject, a problem and a remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class FinchError(Exception):
    """An error that the user can fix. The command line shows it without a traceback.

    Args:
        thing: Subject of the message, such as a parameter, a file or a class name.
        problem: The invalid value, and which values are allowed.
        remedy: What to do about it.
    """

    def __init__(self, thing: object, problem: str, remedy: str = "") -> None:
        self.thing = thing
        self.problem = problem
        self.remedy = remedy
        super().__init__(thing, problem, remedy)  # so that it can be pickled

    def __str__(self) -> str:
        return f"{self.thing}: {self.problem}" + (f"; {self.remedy}" if self.remedy else "")


class ParameterError(FinchError):
    """A parameter is unknown, of the wrong type, invalid, or in conflict with another one."""


class DataError(FinchError):
    """The images, labels or splits cannot be used."""


class ArtifactError(FinchError):
    """A file of an earlier stage is missing, damaged, or was made from other inputs."""

    def __init__(self, path: Path, problem: str, remedy: str = "") -> None:
        self.path = path
        super().__init__(path, problem, remedy)


class StorageError(FinchError):
    """A file cannot be written: the disk is full, read-only, or does not permit it."""


class TrainingError(FinchError):
    """Training cannot continue, for example because the loss is not finite."""


class ExportError(FinchError):
    """The exported file does not compute what the PyTorch model computes."""


class QuantizationError(FinchError):
    """A candidate cannot be made with these parameters."""


class QATError(FinchError):
    """A requirement of quantization-aware training is missing, or the model is unsupported."""


class MeasurementError(FinchError):
    """A candidate could not be run or timed."""


class DeviceError(MeasurementError):
    """A device cannot be reached, or cannot measure any candidate."""


class SelectionError(FinchError):
    """No candidate meets the budget, or the measurements do not allow a choice."""


class Stopped(Exception):
    """Work was interrupted on request, between two steps.

    Args:
        kept: Message for the user: what was saved, and where the next run resumes.
    """

    def __init__(self, kept: str) -> None:
        self.kept = kept
        super().__init__(f"stopped; {kept}")


def one_of(name: str, known: Iterable[str], what: str) -> str:
    """Returns ``name`` if it is one of the known names.

    Args:
        name: As the user wrote it.
        known: All valid names.
        what: Kind of the names, for the message.

    Raises:
        ValueError: The name is unknown. The message lists close matches, or all known names.
    """
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise ValueError(f"{shown(name)} is not a known {what} ({hint})")
    return name


def shown(value: object) -> str:
    """A value as Python writes it, shortened if it is very long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:150]} … ({len(text)} characters)"


def one_line(error: BaseException) -> str:
    """The message of a library's error in one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:299]}…"
