"""Base class of the runtimes."""

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
    """A calibrated static int8 candidate. Any of its layers can be kept in float.

    Attributes:
        layers: The layers that int8 quantizes, in order of execution.
    """

    layers: tuple[Layer, ...]

    def write(self, folder: Path, float_layers: Collection[str] = ()) -> Path:
        """Writes a variant with these layers in float; returns the file that is loaded."""
        ...


class CandidateRuntime(ABC):
    """Makes candidates for one inference runtime.

    Subclasses register with ``@RUNTIMES.register(name)``. On devices, the module of the same name
    in ``finch_runtime/runtimes`` loads the files.

    Attributes:
        package: Name on PyPI; bundles pin the installed version.
        int8_methods: Options of each int8 method, by name. The method ``static`` receives
            calibration images, and ``qat`` receives the QDQ file of the stage ``qat``.
        unsupported: Methods of other runtimes, with the reason and an alternative.
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
            calibration: Images, uint8 [n, height, width, channels]; may be empty unless the
                method is ``static``.
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
