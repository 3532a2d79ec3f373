"""All listed devices, one after the other. What is finished is kept until all of them are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.data.prepared import PreparedData
from pipeline.errors import ArtefactError, DeviceError
from pipeline.files import hash_file, hash_value, read_json, write_json
from pipeline.measure.devices import open_device
from pipeline.measure.devices.remote_runner import content_key
from pipeline.measure.evaluation import Evaluation, evaluate_candidates, read_evaluation
from pipeline.measure.runtime import runtime_files
from pipeline.params import Evaluate
from pipeline.progress import Track, silent


def survey(
    candidates_folder: Path,
    teacher: Path,
    data: PreparedData,
    params: Evaluate,
    hosts: Mapping[str, Any],
    *,
    runtime_folder: Path,
    kept: Path,
    track: Track = silent,
) -> Iterator[Evaluation]:
    """Measures every candidate on every device.

    A device that fails does not keep the others from being measured. The next call goes on where
    nothing has changed that the figures depend on.

    Args:
        candidates_folder: What ``make_candidates`` wrote.
        teacher: The exported teacher.
        data: Its validation split is used, and no other.
        params: Devices, rounds, runs, threads.
        hosts: Stable facts by device.
        runtime_folder: The folder that holds the device runtime's package.
        kept: Holds evaluations of devices, and is removed when all of them are done.
        track: Shows progress.

    Yields:
        An evaluation a device, as soon as it is done.

    Raises:
        ArtefactError: A file is missing, or there are no facts of a device.
        DeviceError: At the end, where devices failed; the message names them.
    """
    for listed in params.devices:
        if listed.name not in hosts:
            raise ArtefactError(
                Path("reports/hosts.json"),
                f"does not know the device {listed.name}",
                "run `python -m stages.probe`",
            )
    runtime = runtime_files(runtime_folder)
    made_from = {
        "candidates": read_json(candidates_folder / "candidates.json"),
        "teacher": hash_file(teacher) if teacher.is_file() else None,
        "data": data.fingerprint,
        "runtime": content_key(runtime.folder, runtime.names),
        "params": params.model_dump(exclude={"devices"}),
    }
    failures: list[DeviceError] = []
    for listed in params.devices:
        about = {"device": listed.model_dump(), "host": hosts[listed.name]}
        place = kept / f"{hash_value({**made_from, **about})}.json"
        if place.exists():
            yield read_evaluation(place)
            continue
        try:
            with open_device(listed) as device:
                evaluation = evaluate_candidates(
                    candidates_folder,
                    teacher,
                    data,
                    params,
                    runtime_folder=runtime_folder,
                    device=device,
                    track=track,
                )
                # Here already: what is measured does not hang on tidying up.
                write_json(place, asdict(evaluation))
        except DeviceError as error:
            failures.append(error)
            continue
        yield evaluation
    if failures:
        first, *others = failures
        also = "".join(f". {error}" for error in others)
        raise DeviceError(first.thing, first.problem, first.remedy + also)
    shutil.rmtree(kept, ignore_errors=True)
