"""Drop of candidates in accuracy, or in balanced accuracy, on the validation images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import open_session, predict
from numpy.typing import NDArray

from pipeline.errors import QuantizationError
from pipeline.measure.accuracy import correct
from pipeline.params import Bundle
from pipeline.statistics import Drop, paired_balanced_drop, paired_drop


@dataclass(eq=False)
class CandidateValidator:
    """Compares candidates with the exported fp32 student, run by the device runtime.

    Attributes:
        student: The exported student.
        images: Validation images, uint8 [n, height, width, channels]; may be memory-mapped.
        labels: int [n].
        rule: Section ``bundle`` of the parameters, with the metric and the limits of its drop.
        threads: Threads of the inference runtime.
    """

    student: Path
    images: NDArray[np.uint8]
    labels: NDArray[np.integer]
    rule: Bundle
    threads: int = 1

    @cached_property
    def student_logits(self) -> NDArray[np.float32]:
        """Logits of the fp32 student, float32 [n, classes]."""
        return self.compute_logits(self.student, "onnxruntime")

    def compute_logits(
        self, model: Path, runtime: str, images: NDArray[np.uint8] | None = None
    ) -> NDArray[np.float32]:
        """Logits, float32 [n, classes], of ``images``; by default of all validation images.

        Raises:
            QuantizationError: The runtime cannot run the model.
        """
        try:
            session = open_session(model, runtime, self.threads)
            return predict(session, self.images if images is None else images)
        except RuntimeProblem as problem:
            raise QuantizationError(
                f"{model.parent.name}/{model.name}", problem.problem, "see quantize.candidates"
            ) from problem

    def drop(self, logits: NDArray[np.float32]) -> Drop:
        """The drop of a model with these logits relative to the fp32 student."""
        both = correct(self.student_logits, self.labels), correct(logits, self.labels)
        if self.rule.metric == "accuracy":
            return paired_drop(*both)
        return paired_balanced_drop(*both, self.labels)

    def accepts(self, drop: Drop) -> bool:
        """Whether ``pipeline.shipping.select`` would accept this drop."""
        return drop.points <= self.rule.max_drop and drop.bound <= self.rule.max_drop_bound

    @property
    def unchanged(self) -> Drop:
        """The drop of a model that predicts the same as the student.

        If it is not accepted, there are too few images to accept any model without gains.
        """
        return self.drop(self.student_logits)

    def sample(self, count: int) -> NDArray[np.intp]:
        """Indices of about ``count`` images, evenly spaced over all images."""
        images = len(self.labels)
        return np.unique(np.linspace(0, images - 1, min(count, images)).round().astype(np.intp))
