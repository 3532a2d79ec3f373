"""How long one inference takes, measured so that models can be compared.

A machine drifts: it warms up, its neighbours come and go. So the models take turns, each in a new
process, round after round, and two of them are compared within rounds.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.errors import MeasurementError
from pipeline.measure.devices.device import Device
from pipeline.measure.runtime import THIS_MACHINE, MeasuredModel, run_model
from pipeline.progress import Track, silent

_ANSWER = {"seconds", "load_s", "first_s", "threads", "runtime", "runtime_version"}


@dataclass(frozen=True)
class Latency:
    """Wall time of inferences at batch 1, in milliseconds.

    Attributes:
        p50_ms: Median over the runs of all rounds.
        p90_ms: 90th percentile over them.
        p99_ms: 99th percentile over them.
        max_ms: The longest of them.
        round_p50s_ms: Median of every round, in the order of the rounds.
        load_ms: From the file to a model that can run; median over the rounds.
        first_ms: First inference of a process; median over the rounds.
        runs: Timed inferences in all.
        threads: Threads of the inference runtime.
        runtime: Inference runtime.
        runtime_version: Its version.
        settings: What the runtime was told or says of itself that bears on speed.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    round_p50s_ms: list[float]
    load_ms: float
    first_ms: float
    runs: int
    threads: int
    runtime: str
    runtime_version: str
    settings: dict[str, str]

    def of(self, percentile: Literal["p50", "p90", "p99"]) -> float:
        """A percentile over the runs of all rounds, in milliseconds."""
        return {"p50": self.p50_ms, "p90": self.p90_ms, "p99": self.p99_ms}[percentile]


@dataclass(frozen=True)
class Ratio:
    """A candidate's latency as a multiple of a reference's, with its 95 % interval."""

    value: float
    low: float
    high: float


def measure_latency(
    models: Mapping[str, MeasuredModel],
    images_path: Path,
    *,
    rounds: int,
    runs: int,
    warmup: int,
    threads: int,
    runtime_folder: Path,
    device: Device = THIS_MACHINE,
    seed: int = 0,
    track: Track = silent,
) -> dict[str, Latency]:
    """Times models in interleaved rounds; every model gets a new process in every round.

    Args:
        models: The models by name.
        images_path: ``.npy`` file, uint8 [n, height, width, 3], RGB; the runs cycle over it.
        rounds: How often every model has its turn.
        runs: Timed inferences in a turn.
        warmup: Inferences before the timed ones of a turn.
        threads: Threads of the inference runtime.
        runtime_folder: Folder that holds the package ``finch_runtime``.
        device: Where.
        seed: Seed of the order (see ``take_turns``).
        track: Shows progress.

    Raises:
        MeasurementError: A model could not be run; the message names it.
        DeviceError: The device failed.
    """
    arguments = ["--runs", str(runs), "--warmup", str(warmup), "--json"]
    turns = [name for order in take_turns(list(models), rounds, seed) for name in order]
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    for name in track(turns, "timing", len(turns)):
        text = run_model(
            "bench",
            models[name],
            images_path,
            arguments,
            threads=threads,
            runtime_folder=runtime_folder,
            device=device,
        )
        answers[name].append(_read_answer(text, models[name], runs))
    return {name: _summarise(answers[name]) for name in models}


def take_turns(names: Sequence[str], rounds: int, seed: int) -> list[list[str]]:
    """The order of the models in every round.

    Every other round is shuffled, and the one after it goes the same way backwards: over the two,
    every model's mean place is the same, so that a steady drift of the machine favours none.
    """
    shuffle = random.Random(seed)
    turns: list[list[str]] = []
    for index in range(rounds):
        if index % 2:
            turns.append(turns[-1][::-1])
        else:
            turns.append(shuffle.sample(names, len(names)))
    return turns


def paired_ratio(candidate_p50s: Sequence[float], reference_p50s: Sequence[float]) -> Ratio:
    """Compares two latencies round by round.

    The value is the geometric mean of the ratios of the rounds; the interval is Student's, on
    their logarithms.

    Args:
        candidate_p50s: Median latency per round, in any unit.
        reference_p50s: Those of the reference in the same rounds and unit.

    Raises:
        MeasurementError: The rounds do not match, or there are fewer than two.
    """
    from scipy.stats import t

    rounds = len(candidate_p50s)
    if rounds != len(reference_p50s) or rounds < 2:
        raise MeasurementError(
            "paired latencies",
            f"{rounds} rounds stand against {len(reference_p50s)}",
            "time both models in the same two or more rounds",
        )
    logs = np.log(candidate_p50s) - np.log(reference_p50s)
    mean, error = float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(rounds)
    reach = float(t.ppf(0.975, rounds - 1)) * error
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))


def _read_answer(text: str, model: MeasuredModel, runs: int) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not answer.keys() >= _ANSWER:
        raise MeasurementError(model.path, f"the device runtime's answer lacks {sorted(_ANSWER)}")
    if len(answer["seconds"]) != runs or min(answer["seconds"]) <= 0:
        raise MeasurementError(model.path, f"the device runtime did not time {runs} runs")
    return answer


def _summarise(answers: Sequence[Mapping[str, Any]]) -> Latency:
    seconds = np.array([answer["seconds"] for answer in answers])
    p50, p90, p99 = 1e3 * np.percentile(seconds, [50, 90, 99])
    last = answers[-1]
    return Latency(
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        max_ms=float(1e3 * seconds.max()),
        round_p50s_ms=(1e3 * np.median(seconds, axis=1)).tolist(),
        load_ms=float(1e3 * np.median([answer["load_s"] for answer in answers])),
        first_ms=float(1e3 * np.median([answer["first_s"] for answer in answers])),
        runs=seconds.size,
        threads=int(last["threads"]),
        runtime=str(last["runtime"]),
        runtime_version=str(last["runtime_version"]),
        settings=dict(last.get("settings", {})),
    )
