"""Evaluates all candidates and the teacher on the validation images, on every device."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from finch_runtime.errors import printable
from finch_runtime.protocol import ComparePlan
from numpy.typing import NDArray

from pipeline.code_fingerprint import code_fingerprint
from pipeline.errors import ArtifactError, DeviceError, MeasurementError
from pipeline.export.onnx_metadata import read_image_size
from pipeline.files import hash_value, write_json
from pipeline.measure.accuracy import agreement, check_that_logits_vary, correct, score
from pipeline.measure.devices.device import Device
from pipeline.measure.devices.remote import open_device
from pipeline.measure.evaluation import Evaluation, Measured, NotRun, read_evaluation
from pipeline.measure.host import Host, Unreachable
from pipeline.measure.latency import LatencyPlan, Rounds, measure_latency
from pipeline.measure.models import TEACHER, EvaluationInputs, ListedCandidate, find_models
from pipeline.measure.names import without_folders
from pipeline.measure.runtime import DeviceRuntime, MeasuredModel
from pipeline.measure.throughput import Throughput, measure_throughput
from pipeline.params import Evaluate
from pipeline.progress import Track, silent
from pipeline.statistics import AccuracyDrop, paired_balanced_drop, paired_drop


def evaluate_devices(
    inputs: EvaluationInputs,
    params: Evaluate,
    hosts: Mapping[str, Host | Unreachable],
    cache: Path,
    track: Track = silent,
) -> Iterator[Evaluation]:
    """Evaluates all candidates on every device that ``probe`` could reach.

    The other devices are still evaluated if one fails. The next call reuses the finished ones from
    the folder ``cache``, as long as nothing has changed that the measurements depend on, such as
    ``hosts``, the content of ``reports/hosts.json``. The folder is removed at the end.

    Raises:
        ArtifactError: A file is missing or has changed, or ``hosts`` lacks a device.
        DeviceError: No device could be reached. At the end: devices failed; the message names them.
    """
    for listed in params.devices:
        if listed.name not in hosts:
            problem, remedy = f"lacks the device {listed.name}", "run `finch probe`"
            raise ArtifactError(Path("reports/hosts.json"), problem, remedy)
    reached = {name: host for name, host in hosts.items() if isinstance(host, Host)}
    devices = [listed for listed in params.devices if listed.name in reached]
    if not devices:
        problem, remedy = "`probe` could reach none of them", "switch one on, and run `finch probe`"
        raise DeviceError("evaluate.devices", problem, remedy)
    dependencies = {
        "models": [asdict(info) for info in find_models(inputs)[1].values()],
        "data": inputs.data.fingerprint,
        "runtime": DeviceRuntime(inputs.runtime).content_hash(),
        "code": code_fingerprint(__name__),
        "params": params.model_dump(exclude={"devices"}),
    }
    failures: list[DeviceError] = []
    for listed in devices:
        host = reached[listed.name]
        own = {"device": listed.model_dump(), "host": asdict(host)}
        cached = cache / f"{hash_value({**dependencies, **own})}.json"
        if cached.exists():
            yield read_evaluation(cached)
            continue
        try:
            limit_s = 60 * params.max_process_minutes + params.sustained_seconds
            with open_device(listed, limit_s) as device:
                _check_host(device, host)
                evaluation = evaluate_candidates(inputs, params, device, host, track)
                # Before the device is closed: a failure to clean up must not lose the results.
                write_json(cached, asdict(evaluation))
        except DeviceError as error:
            failures.append(error)
            continue
        yield evaluation
    if failures:
        first, *others = failures
        also = "".join(f". {error}" for error in others)
        raise DeviceError(first.thing, first.problem, first.remedy + also)
    shutil.rmtree(cache, ignore_errors=True)


def is_current(evaluation: Evaluation, inputs: EvaluationInputs, params: Evaluate) -> bool:
    """Whether an earlier evaluation is of the present models, data and device runtime.

    Raises:
        ArtifactError: A model file is missing.
    """
    models = [*evaluation.candidates, *evaluation.not_run, *filter(None, [evaluation.teacher])]
    return (
        {m.name: m.files for m in models}
        == {name: info.files for name, info in find_models(inputs)[1].items()}
        and evaluation.data == inputs.data.fingerprint
        and evaluation.runtime == DeviceRuntime(inputs.runtime).content_hash()
        and evaluation.threads == params.threads
    )


def evaluate_candidates(
    inputs: EvaluationInputs, params: Evaluate, device: Device, host: Host, track: Track
) -> Evaluation:
    """Measures accuracy, latency and resource usage of all candidates and the teacher.

    Raises:
        ArtifactError: A file is missing, or changed before or during the measurement.
        DeviceError: The device failed, or cannot run the reference.
    """
    index, infos, models = find_models(inputs)
    reference, runtime = index.reference, DeviceRuntime(inputs.runtime, device)
    size, teacher_size = (read_image_size(models[name].path) for name in (reference, TEACHER))
    labels, images = inputs.data.split("val", size).labels, inputs.data.images_path("val", size)
    if teacher_size != size:
        inputs.data.split("val", teacher_size)  # checks the file
        own = inputs.data.images_path("val", teacher_size)
        models[TEACHER] = replace(models[TEACHER], images=own)
    runtime_hash = runtime.content_hash()
    run = _DeviceRun(models, reference, images, runtime, params, track)
    logits = run.measure_logits()
    rounds, throughputs = run.measure_speed()
    changed = [inputs.candidates] if find_models(inputs)[1] != infos else []
    changed += [inputs.runtime] if runtime.content_hash() != runtime_hash else []
    if changed:
        raise ArtifactError(
            changed[0], "changed while it was measured", "run `finch evaluate` again"
        )

    def drop_to(other: str, name: str) -> AccuracyDrop:
        return paired_drop(correct(logits[other], labels), correct(logits[name], labels))

    def measured(name: str) -> Measured:
        metrics = asdict(score(logits[name], labels))
        del metrics["confusion"]
        return Measured(
            **asdict(infos[name]),
            **metrics,
            agreement=agreement(logits[name], logits[reference]),
            drop=drop_to(reference, name),
            balanced_drop=paired_balanced_drop(
                correct(logits[reference], labels), correct(logits[name], labels), labels
            ),
            latency=rounds.latencies[name],
            ratio=rounds.latencies[name].ratio(),
            footprint=rounds.footprints[name],
            throughput=throughputs[name],
            drop_to_teacher=drop_to(TEACHER, name) if TEACHER in rounds.latencies else None,
        )

    about = inputs.data.info
    return Evaluation(
        host=host,
        device=device.name,
        images=len(labels),
        rounds=rounds.count,
        ended=rounds.ended,
        half_width=rounds.half_width,
        threads=params.threads,
        reference=reference,
        candidates=[measured(name) for name in rounds.latencies if name != TEACHER],
        not_run=[
            NotRun(**asdict(info), problem=run.problems[name])
            for name, info in infos.items()
            if name in run.problems
        ],
        teacher=measured(TEACHER) if TEACHER in rounds.latencies else None,
        notes=_version_notes(device.name, index.candidates, rounds),
        conditions=rounds.conditions,
        data=inputs.data.fingerprint,
        runtime=runtime_hash,
        class_images=dict(zip(about.classes, about.splits["val"].per_class, strict=True)),
    )


def _check_host(device: Device, recorded: Host) -> None:
    now, then = (_facts(host) for host in (device.describe(), recorded))
    for key in now | then:
        if now.get(key) != then.get(key):
            problem = f"its {key} is {now.get(key)}, but {then.get(key)} in reports/hosts.json"
            raise DeviceError(device.name, problem, "run `finch probe`, then `finch evaluate`")


def _facts(host: Host) -> dict[str, object]:
    facts = asdict(host)
    return {**facts.pop("packages"), **facts}


@dataclass
class _DeviceRun:
    """Runs models on a device, and excludes those that fail; ``problems`` has the reasons."""

    models: Mapping[str, MeasuredModel]
    reference: str
    images: Path
    runtime: DeviceRuntime
    params: Evaluate
    track: Track
    problems: dict[str, str] = field(default_factory=dict)

    def measure_logits(self) -> dict[str, NDArray[np.float32]]:
        logits = {}
        for name, model in self.track(self.models.items(), "classifying", len(self.models)):
            try:
                found = self.runtime.predict(model, self.images, self.params.threads)
                check_that_logits_vary(found)
                logits[name] = found
            except MeasurementError as error:
                self._exclude(name, error)
        return logits

    def measure_speed(self) -> tuple[Rounds, dict[str, Throughput]]:
        params = self.params
        plan = LatencyPlan(
            reference=self.reference,
            threads=params.threads,
            rounds=params.rounds,
            max_rounds=params.max_rounds,
            max_minutes=params.max_minutes,
            max_half_width=params.max_half_width,
            optional=[TEACHER],
            turns=ComparePlan(params.turns, params.runs, params.warmup, params.warmup_seconds),
        )
        throughputs: dict[str, Throughput] = {}
        while True:
            models = {n: model for n, model in self.models.items() if n not in self.problems}
            try:
                new = {name: model for name, model in models.items() if name not in throughputs}
                for name, model in self.track(new.items(), "throughput", len(new)):
                    throughputs[name] = measure_throughput(model, self.images, self.runtime, params)
                rounds = measure_latency(models, self.images, self.runtime, plan, self.track)
                return rounds, throughputs
            except MeasurementError as error:
                # Rounds of fewer models are not comparable, so the others are timed again.
                failed = [name for name, model in models.items() if model.path == error.thing]
                if not failed:
                    raise
                self._exclude(failed[0], error)

    def _exclude(self, name: str, error: MeasurementError) -> None:
        if isinstance(error, DeviceError):
            raise error
        if name == self.reference:
            problem = f"the reference {name} {error.problem}"
            raise DeviceError(self.runtime.device.name, problem, error.remedy) from error
        folders = (
            self.models[name].path.parent,
            self.images.parent,
            Path(os.environ.get("HOME", "/")),
            Path.cwd(),
        )
        known = [folder.resolve() for folder in folders]
        self.problems[name] = without_folders(printable(error.problem), known)


def _version_notes(device: str, candidates: Sequence[ListedCandidate], rounds: Rounds) -> list[str]:
    notes = set()
    for c in candidates:
        if c.name in rounds.latencies:
            # ``openvino.__version__`` adds the build after a hyphen; the package version does not.
            there = rounds.latencies[c.name].runtime_version.partition("-")[0]
            if there != c.runtime_version:
                notes.add(
                    f"{device} has {c.runtime} {there}, "
                    f"candidates were made with {c.runtime} {c.runtime_version}"
                )
    return sorted(notes)
