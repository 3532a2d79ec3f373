"""An evaluation of drawn logits and latencies."""

from dataclasses import replace

import numpy as np
from finch_runtime.protocol import Conditions, Rate

from pipeline.files import hash_value
from pipeline.measure.accuracy import agreement, correct, score
from pipeline.measure.evaluation import Evaluation, Measured
from pipeline.measure.latency import Footprint, Latency
from pipeline.measure.throughput import Threaded, Throughput
from pipeline.statistics import paired_drop

CLASSES = (
    "mono 0 %",
    "mono 33 %",
    "<b>mono</b> & \"67\" 'x'",
    "poly 0 %",
    "poly 33 %",
    "poly 67 %",
)
PER_CLASS = {
    "train": [420, 90, 60, 300, 80, 50],
    "val": [140, 30, 20, 100, 27, 17],
    "test": [140, 31, 19, 100, 0, 16],
}
REFERENCE = "onnxruntime-fp32"

# Name, runtime, precision, batch, bytes, typical p50 in ms, correct predictions lost and gained.

CANDIDATES = (
    (REFERENCE, "onnxruntime", "fp32", "dynamic", 1_652_311, 0.712, 0, 0),
    ("onnxruntime-int8", "onnxruntime", "int8", "dynamic", 643_212, 0.951, 4, 3),
    ("openvino-fp16", "openvino", "fp16", "dynamic", 921_004, 1.010, 0, 0),
    ("openvino-int8", "openvino", "int8", "dynamic", 702_118, 1.004, 9, 2),
    ("openvino-fp16-b1", "openvino", "fp16", 1, 918_771, 0.705, 1, 0),
    ("openvino-int8-b1", "openvino", "int8", 1, 701_640, 0.681, 5, 3),
)
TEACHER = ("teacher", "onnxruntime", "fp32", "dynamic", 13_531_207, 2.754, 0, 0)


def draw_logits(labels, accuracy, rng):
    """Logits float32 [n, classes] with about this accuracy."""
    logits = rng.normal(size=(len(labels), len(CLASSES)))
    right = rng.random(len(labels)) < accuracy
    wrong = (labels + rng.integers(1, len(CLASSES), len(labels))) % len(CLASSES)
    logits[np.arange(len(labels)), np.where(right, labels, wrong)] = 9
    return logits.astype(np.float32)


def quantized(logits, labels, lost, gained):
    """Logits that lose and gain this many correct predictions."""
    right = logits.argmax(1) == labels
    changed = logits.copy()
    for rows, moved in ((np.flatnonzero(right)[:lost], 1), (np.flatnonzero(~right)[:gained], 0)):
        changed[rows, (labels[rows] + moved) % len(CLASSES)] = 99
    return changed


def _latency(runtime, p50, rng):
    seconds = p50 * rng.lognormal(0, 0.05, size=(7, 150)) * rng.lognormal(0, 0.01, size=(7, 1))
    round_p50s = np.median(seconds, axis=1)
    p50, p90, p99 = np.percentile(seconds, [50, 90, 99])
    return Latency(
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        max_ms=float(seconds.max()),
        round_p50s_ms=round_p50s.tolist(),
        round_ratios={
            percentile: np.percentile(seconds, int(percentile[1:]), axis=1).tolist()
            for percentile in ("p50", "p90", "p99")
        },
        load_ms=31.25,
        first_ms=4.5,
        runs=seconds.size,
        threads=1,
        runtime=runtime,
        runtime_version={"onnxruntime": "1.22.0", "openvino": "2025.2.0"}[runtime],
        settings={"threads_of": runtime},
    )


def model_files(name):
    return {f"{name}.onnx" if name == "teacher" else f"{name}/model": hash_value(name)}


def draw_evaluation(rng, host, data):
    labels = np.repeat(np.arange(len(CLASSES)), PER_CLASS["val"])
    student, teacher = draw_logits(labels, 0.69, rng), draw_logits(labels, 0.72, rng)
    logits = {
        name: quantized(student, labels, lost, gained) for name, *_, lost, gained in CANDIDATES
    }
    logits["teacher"] = teacher
    latencies = {
        name: _latency(runtime, p50, rng) for name, runtime, *_, p50, _, _ in (*CANDIDATES, TEACHER)
    }
    units = latencies[REFERENCE].round_ratios
    for name, latency in latencies.items():
        ratios = {
            percentile: (np.array(rounds) / units[percentile]).tolist()
            for percentile, rounds in latency.round_ratios.items()
        }
        latencies[name] = replace(latency, round_ratios=ratios)

    def measured(name, runtime, precision, batch, size, *_):
        scored = score(logits[name], labels)
        return Measured(
            name=name,
            runtime=runtime,
            precision=precision,
            batch=batch,
            bytes=size,
            accuracy=scored.accuracy,
            balanced_accuracy=scored.balanced_accuracy,
            top5=scored.top5,
            calibration_error=scored.calibration_error,
            recalls=scored.recalls,
            agreement=agreement(logits[name], student),
            drop=paired_drop(correct(student, labels), correct(logits[name], labels)),
            latency=latencies[name],
            ratio=latencies[name].ratio(),
            drop_to_teacher=paired_drop(correct(teacher, labels), correct(logits[name], labels)),
            footprint=Footprint(61_200_000, 30_100_000, 55_000_000, None, "not measured: no meter"),
            throughput=Throughput([Threaded(1, 0.7, [Rate(1, 1234.0), Rate(8, 2345.0)])], None),
            files=model_files(name),
        )

    return Evaluation(
        host=host,
        device="local",
        images=len(labels),
        rounds=7,
        ended="converged",
        half_width=0.031,
        threads=1,
        reference=REFERENCE,
        candidates=[measured(*about) for about in CANDIDATES],
        not_run=[],
        teacher=measured(*TEACHER),
        notes=[],
        conditions=[Conditions(51.4, None), Conditions(55.6, None)],
        data=data,
        runtime="5e" * 32,
        class_images=dict(zip(CLASSES, PER_CLASS["val"], strict=True)),
    )
