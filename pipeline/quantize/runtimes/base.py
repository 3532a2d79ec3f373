"""The interface of a runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.params import Candidate
from pipeline.plugins.section import Section
from pipeline.quantize.layers import Layer

ReduceRange = Annotated[
    bool,
    Field(
        description="Weights have 7 bits, which avoids saturation on x86 without VNNI. Depthwise "
        "weights keep 8 bits in QDQ and OpenVINO files."
    ),
]


class Variants(Protocol):
    """A static int8 candidate, calibrated once, of which any layers can be kept in float.

    Attributes:
        layers: The layers that int8 quantizes, in order of execution.
    """

    layers: tuple[Layer, ...]

    def write(self, folder: Path, float_layers: Collection[str] = ()) -> Path:
        """Writes a variant, with the named layers in float, to a folder; returns as ``make``."""
        ...


class CandidateRuntime(ABC):
    """Makes candidates for one inference runtime.

    Subclasses register with ``@RUNTIMES.register(name)``. On devices, the file of the same name in
    ``finch_runtime/runtimes`` loads what they make.

    Attributes:
        package: Name on PyPI; bundles require the version that is installed here.
        int8_methods: Options of every int8 method, by the method's name. A method ``static`` gets
            calibration images, a method ``qat`` gets the QDQ file of stage ``qat``.
        unsupported: Why the runtime lacks a method of other runtimes, and what to use instead.
        mixed_precision: Whether ``open_variants`` is implemented.
    """

    package: ClassVar[str]
    int8_methods: ClassVar[Mapping[str, type[Section]]]
    unsupported: ClassVar[Mapping[str, str]] = {}
    mixed_precision: ClassVar[bool] = False

    @abstractmethod
    def make(
        self, candidate: Candidate, source: Path, calibration: NDArray[np.uint8], folder: Path
    ) -> Path:
        """Writes the files of a candidate; the same input gives the same bytes.

        Args:
            candidate: Precision, method and options.
            source: The exported student with the candidate's batch size.
            calibration: Images, uint8 [n, height, width, 3] RGB; may be empty unless the method is
                ``static``.
            folder: An empty folder.

        Returns:
            The file that the runtime loads.

        Raises:
            QuantizationError: The runtime cannot run the student.
        """

    def open_variants(
        self, candidate: Candidate, source: Path, calibration: NDArray[np.uint8]
    ) -> AbstractContextManager[Variants]:
        """Calibrates a static int8 candidate for mixed precision; arguments as for ``make``.

        Raises:
            QuantizationError: The runtime cannot run the student.
        """
        raise NotImplementedError
