"""Accuracy drop of candidates on the validation images."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from finch_runtime.errors import RuntimeProblem
from finch_runtime.session import open_session, predict
from numpy.typing import NDArray

from pipeline.errors import QuantizationError
from pipeline.measure.accuracy import correct
from pipeline.params import Bundle
from pipeline.statistics import AccuracyDrop, paired_drop


class CandidateValidator:
    """Compares candidates with the exported fp32 student, in the sessions that devices use.

    Args:
        student: The exported student.
        images: Validation images, uint8 [n, height, width, 3] RGB; may be memory-mapped.
        labels: int [n].
        rule: Section ``bundle`` of the parameters; its ``max_drop`` and ``max_drop_bound`` apply.
        threads: Threads of the inference runtime.
    """

    def __init__(
        self,
        student: Path,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer],
        rule: Bundle,
        threads: int = 1,
    ) -> None:
        self.images = images
        self.labels = labels
        self.rule = rule
        self._student = student
        self._threads = threads

    @cached_property
    def student_logits(self) -> NDArray[np.float32]:
        """Logits of the fp32 student, float32 [n, classes]."""
        return self.compute_logits(self._student, "onnxruntime")

    def compute_logits(
        self, model: Path, runtime: str, images: NDArray[np.uint8] | None = None
    ) -> NDArray[np.float32]:
        """Logits, float32 [n, classes], of ``images``; by default of all validation images.

        Raises:
            QuantizationError: The runtime cannot run the model.
        """
        try:
            session = open_session(model, runtime, self._threads)
            return predict(session, self.images if images is None else images)
        except RuntimeProblem as problem:
            raise QuantizationError(
                f"{model.parent.name}/{model.name}", problem.problem, "see quantize.candidates"
            ) from problem

    def drop(self, logits: NDArray[np.float32]) -> AccuracyDrop:
        """Accuracy drop, to the fp32 student, of a model with these logits."""
        return paired_drop(correct(self.student_logits, self.labels), correct(logits, self.labels))

    def accepts(self, drop: AccuracyDrop) -> bool:
        """Whether ``pipeline.shipping.select`` would accept this drop."""
        return drop.points <= self.rule.max_drop and drop.high <= self.rule.max_drop_bound

    @property
    def can_accept(self) -> bool:
        """Whether there are enough images to accept a model with the student's own logits."""
        return self.accepts(self.drop(self.student_logits))

    def sample(self, count: int) -> NDArray[np.intp]:
        """Indices of about ``count`` images, evenly spaced over all images."""
        images = len(self.labels)
        return np.unique(np.linspace(0, images - 1, min(count, images)).round().astype(np.intp))
