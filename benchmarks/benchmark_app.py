"""Compares Finch's latency with that of other tools for the same files, in interleaved rounds.

    python benchmarks/benchmark_app.py [ROUNDS [RUNS [THREADS]]]

resnet18 and tf_efficientnet_lite0 at 224 px, untrained, exported with a batch size of 1. OpenVINO
files are compared with OpenVINO's `benchmark_app` (`-api sync -hint none -nstreams 1`, fp32), ONNX
files with a loop over `session.run`. Each tool runs in its own process, on the same image.
Prints the median, minimum and maximum over the rounds of Finch's latency divided by the other's. On
an idle machine they should be within 5 % of 1.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from finch_runtime.protocol import BenchmarkPlan

from pipeline.export.onnx_export import export_onnx
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.models.classifier import build_classifier
from pipeline.params import Candidate
from pipeline.quantize.runtimes.openvino import OpenVINO

NETWORKS = ("resnet18", "tf_efficientnet_lite0")
SIZE, CLASSES, WARMUP = 224, 10, 20
RUNTIME = DeviceRuntime(Path(__file__).parents[1] / "deploy" / "python")

# Arguments: model.onnx images.npy runs threads warm-up. Prints the median in milliseconds.
BARE_LOOP = """\
import statistics, sys, time
import numpy as np, onnxruntime
path, images, runs, threads, warmup = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(threads)
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
feed, times = {"images": np.load(images)}, []
for _ in range(int(warmup) + int(runs)):
    started = time.perf_counter()
    session.run(None, feed)
    times.append(time.perf_counter() - started)
print(1e3 * statistics.median(times[int(warmup):]))
"""


def finch_ms(model: MeasuredModel, images: Path, runs: int, threads: int) -> float:
    """The p50 of the device runtime."""
    plan = BenchmarkPlan(runs=runs, warmup=WARMUP, warmup_s=0.0, batches=[])
    (seconds,) = RUNTIME.benchmark(model, images, threads, plan).timing.turns
    return 1e3 * statistics.median(seconds)


def other_ms(model: MeasuredModel, images: Path, runs: int, threads: int) -> float:
    """The median latency of the tool for the model's runtime."""
    if model.runtime == "onnxruntime":
        arguments = [str(model.path), str(images), str(runs), str(threads), str(WARMUP)]
        return float(_stdout([sys.executable, "-c", BARE_LOOP, *arguments]))
    line = [str(Path(sys.executable).parent / "benchmark_app"), "-m", str(model.path)]
    line += ["-api", "sync", "-hint", "none", "-nstreams", "1", "-nthreads", str(threads)]
    line += ["-infer_precision", "f32", "-niter", str(runs), "-i", f"images:{images}"]
    text = _stdout(line)
    found = re.search(r"Median:\s+([\d.]+) (ms|us|µs)", text)
    if found is None:
        raise SystemExit(f"benchmark_app printed no median:\n{text}")
    return float(found[1]) * (1 if found[2] == "ms" else 1e-3)


def main(rounds: int, runs: int, threads: int) -> None:
    """Prints one row per network and runtime."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "images.npy"
        image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
        np.save(images, image)
        print(f"{'':36}{'Finch':>10}{'other':>10}  ratio (minimum to maximum of {rounds})")
        for network in NETWORKS:
            for model in make_files(network, folder / network):
                pairs = []
                for index in range(rounds):
                    tools = (finch_ms, other_ms) if index % 2 else (other_ms, finch_ms)
                    times = {tool: tool(model, images, runs, threads) for tool in tools}
                    pairs.append((times[finch_ms], times[other_ms]))
                ratios = [finch / other for finch, other in pairs]
                finch, other = (statistics.median(column) for column in zip(*pairs, strict=True))
                print(
                    f"{network + ', ' + model.runtime:36}{finch:7.2f} ms{other:7.2f} ms"
                    f"  {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
                    flush=True,
                )


def make_files(network: str, folder: Path) -> list[MeasuredModel]:
    """Exports the network for both runtimes, in fp32."""
    folder.mkdir()
    model = build_classifier(network, tuple(map(str, range(CLASSES))), SIZE).eval()
    source = folder / "source.onnx"
    export_onnx(model.backbone, model.spec, source, batch=1, opset=18)
    candidate = Candidate(name="openvino", runtime="openvino", precision="fp32", batch=1)
    (folder / "openvino").mkdir()
    no_images = np.zeros((0, SIZE, SIZE, 3), np.uint8)
    made = OpenVINO().make(candidate, source, no_images, folder / "openvino")
    return [MeasuredModel(source, "onnxruntime"), MeasuredModel(made, "openvino")]


def _stdout(line: list[str]) -> str:
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(line[0]).name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*given, *(5, 100, 1)[len(given) :])
