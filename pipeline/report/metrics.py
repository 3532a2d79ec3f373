"""Metrics of a run for ``dvc metrics``, which shows one column per key: few and short ones."""

from __future__ import annotations

from pipeline.report.facts import Facts


def run_metrics(facts: Facts) -> dict[str, float]:
    """The metrics of ``reports/metrics.json``.

    Returns:
        ``test_accuracy`` and ``test_balanced`` (balanced accuracy) of the shipped model on the test
        images; ``test_student`` and ``test_teacher``, the accuracies of the fp32 models there;
        ``val_accuracy`` of the shipped model on the validation images, which it was selected on;
        ``p50_ms``, its median latency in ms; ``speedup``, the teacher's latency divided by its own,
        left out if the device cannot run the teacher; and ``model_mb``, the size of its files in
        10⁶ bytes. Accuracies are fractions in [0, 1].
    """
    verified, shipped = facts.verified, facts.shipped
    speedup = {"speedup": facts.speedup.value} if facts.speedup else {}
    return {
        "test_accuracy": verified.shipped.accuracy,
        "test_balanced": verified.shipped.balanced_accuracy,
        "test_student": verified.student.accuracy,
        "test_teacher": verified.teacher.accuracy,
        "val_accuracy": shipped.accuracy,
        "p50_ms": shipped.latency.p50_ms,
        **speedup,
        "model_mb": shipped.bytes / 1e6,
    }
