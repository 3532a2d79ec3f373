"""How long one inference takes, measured so that models can be compared.

A machine drifts: it warms up, its neighbours come and go. So the models take turns of a few
milliseconds, side by side, and are compared turn by turn. A process has luck of its own, with where
its memory lies, so every round starts new ones, and the rounds tell how sure the comparison is.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.errors import MeasurementError
from pipeline.measure.devices.device import Device
from pipeline.measure.footprint import Footprint, Moment, summarize_footprint
from pipeline.measure.runtime import THIS_MACHINE, MeasuredModel, run_side_by_side
from pipeline.progress import Track, silent
from pipeline.statistics import paired_ratio, relative_half_width

_ANSWER = {"turns", "load_s", "first_s", "threads", "runtime", "runtime_version"}


@dataclass(frozen=True)
class Latency:
    """Wall time of inferences at batch 1, in milliseconds.

    Attributes:
        p50_ms: Median over the runs of all rounds.
        p90_ms: 90th percentile over them.
        p99_ms: 99th percentile over them.
        max_ms: The longest of them.
        round_p50s_ms: Median of every round, in the order of the rounds.
        round_ratios: In the same order, the median over the turns of a round of the model's time
            as a multiple of the reference's beside it.
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
    round_ratios: list[float]
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
class Stopping:
    """When there were rounds enough.

    Attributes:
        rounds: Fewest rounds.
        max_rounds: Most rounds.
        minutes: No round begins that would end later than this.
        settled: Rounds may end when no interval reaches further from its ratio than this share.
    """

    rounds: int
    max_rounds: int
    minutes: float
    settled: float


@dataclass(frozen=True)
class Rounds:
    """What rounds of models side by side gave.

    Attributes:
        count: How many there were.
        ended: Because all ratios were ``settled``, or at the most ``rounds``, or for ``time``.
        uncertainty: Half of the widest 95 % interval of the ratios that had to settle, as a share
            of the ratio.
        latencies: By model.
        demands: What the models take beside time, by model.
        moments: The machine at the begin and the end of every round.
    """

    count: int
    ended: Literal["settled", "rounds", "time"]
    uncertainty: float
    latencies: dict[str, Latency]
    demands: dict[str, Footprint]
    moments: list[Moment]


def measure_latency(
    models: Mapping[str, MeasuredModel],
    images_path: Path,
    *,
    reference: str,
    stopping: Stopping,
    turns: int,
    runs: int,
    warmup: int,
    warmup_seconds: float,
    threads: int,
    runtime_folder: Path,
    device: Device = THIS_MACHINE,
    bystanders: Sequence[str] = (),
    track: Track = silent,
) -> Rounds:
    """Times models side by side, in new processes every round, until their ratios are sure.

    Args:
        models: The models by name.
        images_path: ``.npy`` file, uint8 [n, height, width, 3], RGB; the runs cycle over it.
        reference: The model that the others are compared with.
        stopping: When it ends.
        turns: Turns of every model in a round.
        runs: Timed inferences in a turn.
        warmup: Fewest inferences of a process before its first turn.
        warmup_seconds: Shortest time of these.
        threads: Threads of the inference runtime.
        runtime_folder: Folder that holds the package ``finch_runtime``.
        device: Where.
        bystanders: Models whose ratios need not be sure.
        track: Shows progress.

    Raises:
        MeasurementError: A model could not be run; the message names it.
        DeviceError: The device failed.
    """
    names = list(models)
    arguments = ["--turns", str(turns), "--runs", str(runs), "--warmup", str(warmup)]
    arguments += ["--warmup-seconds", str(warmup_seconds), "--json"]
    rounds: list[list[dict[str, Any]]] = []
    moments: list[Moment] = []
    judged = [name for name in names if name not in (reference, *bystanders)]
    ended: Literal["settled", "rounds", "time"] = "rounds"
    uncertainty = math.inf
    began = time.monotonic()
    for seed in track(range(stopping.max_rounds), "timing", stopping.max_rounds):
        text = run_side_by_side(
            list(models.values()),
            images_path,
            [*arguments, "--seed", str(seed)],
            threads=threads,
            runtime_folder=runtime_folder,
            device=device,
        )
        answers, conditions = _read_round(text, list(models.values()), turns, runs)
        rounds.append(answers)
        moments += conditions
        if len(rounds) < stopping.rounds:
            continue
        ratios = [paired_ratio(_ratios(rounds, names, name, reference)) for name in judged]
        uncertainty = max((relative_half_width(ratio) for ratio in ratios), default=0.0)
        if uncertainty <= stopping.settled:
            ended = "settled"
            break
        taken = (time.monotonic() - began) / 60
        if taken * (len(rounds) + 1) / len(rounds) > stopping.minutes:
            ended = "time"
            break
    by_model = {name: [answers[i] for answers in rounds] for i, name in enumerate(names)}
    return Rounds(
        count=len(rounds),
        ended=ended,
        uncertainty=uncertainty,
        latencies={
            name: _summarise(by_model[name], _ratios(rounds, names, name, reference))
            for name in names
        },
        demands={name: summarize_footprint(by_model[name]) for name in names},
        moments=moments,
    )


def _ratios(
    rounds: Sequence[Sequence[Mapping[str, Any]]], names: Sequence[str], name: str, reference: str
) -> list[float]:
    place, other = names.index(name), names.index(reference)

    def ratios() -> Iterator[float]:
        for answers in rounds:
            own, its = (np.median(answers[i]["turns"], axis=1) for i in (place, other))
            yield float(np.median(own / its))

    return list(ratios())


def _read_round(
    text: str, models: Sequence[MeasuredModel], turns: int, runs: int
) -> tuple[list[dict[str, Any]], list[Moment]]:
    try:
        answer = json.loads(text)
        answers = list(answer["models"])
        moments = [Moment(**moment) for moment in answer["conditions"]]
    except (ValueError, TypeError, KeyError):
        answers, moments = [], []
    for model, found in zip(models, answers, strict=False):
        if not isinstance(found, dict) or not found.keys() >= _ANSWER:
            raise MeasurementError(
                model.path, f"the device runtime's answer lacks {sorted(_ANSWER)}"
            )
        seconds = found["turns"]
        if [len(turn) for turn in seconds] != [runs] * turns or np.min(seconds) <= 0:
            raise MeasurementError(
                model.path, f"the device runtime did not time {turns} turns of {runs} runs"
            )
    if len(answers) != len(models):
        raise MeasurementError(
            "the device runtime", f"answered for {len(answers)} of {len(models)} models"
        )
    return answers, moments


def _summarise(answers: Sequence[Mapping[str, Any]], ratios: list[float]) -> Latency:
    seconds = np.array([answer["turns"] for answer in answers])
    p50, p90, p99 = 1e3 * np.percentile(seconds, [50, 90, 99])
    last = answers[-1]
    return Latency(
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        max_ms=float(1e3 * seconds.max()),
        round_p50s_ms=(1e3 * np.median(seconds, axis=(1, 2))).tolist(),
        round_ratios=ratios,
        load_ms=float(1e3 * np.median([answer["load_s"] for answer in answers])),
        first_ms=float(1e3 * np.median([answer["first_s"] for answer in answers])),
        runs=seconds.size,
        threads=int(last["threads"]),
        runtime=str(last["runtime"]),
        runtime_version=str(last["runtime_version"]),
        settings=dict(last.get("settings", {})),
    )
