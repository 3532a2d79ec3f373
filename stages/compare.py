"""Comparison of distillation methods."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from stages.command import Context, stage
from stages.console import track

if TYPE_CHECKING:
    import torch

    from pipeline.compare.comparison import FinishedRun
    from pipeline.compare.runs import ComparisonSetup
    from pipeline.data.prepared import PreparedData
    from pipeline.params import Compare


def _config() -> type[Compare]:
    from pipeline.params import Compare

    return Compare


@stage(
    reads="compare.yaml, data/prepared/, data/teacher_logits/, models/teacher/",
    writes="reports/compare.json, .md, .html and compare_runs.csv; finished runs are kept in "
    ".finch/compare/",
    resumable=True,
    exclusive=False,
    config=_config,
)
def compare(context: Context, config: Compare) -> None:
    """Tune, train and compare distillation methods with equal budgets.

    The command can be interrupted and restarted at any time, and several processes can run in
    parallel. Finished runs are not trained again.
    """
    from dataclasses import asdict
    from functools import partial

    import torch

    from pipeline.compare.analysis import analyze
    from pipeline.compare.comparison import run_comparison
    from pipeline.compare.runs import RunStore
    from pipeline.data.naming import data_name
    from pipeline.measure.accuracy import score
    from pipeline.measure.host import describe_host
    from pipeline.models.classifier import load_classifier
    from pipeline.report.comparison import as_markdown, as_page, write_runs
    from pipeline.training.device import prepare_torch
    from pipeline.training.validation import compute_logits

    params, paths = context.params, context.paths
    config.check_entries(params.distill)
    device = prepare_torch(params.run)
    setup = _open(context, config, device)
    if setup.data.info.unlabelled is not None:
        for entry in config.entries:
            params.distill.changed(entry.set).check_unlabelled()
    _check_students(context, config, setup.data)
    teacher, _ = load_classifier(paths.teacher, device)
    size = teacher.spec.image_size
    store = RunStore(paths.comparison_runs)
    finals = run_comparison(setup, store, track=track, on_finished=partial(_log, context.log))
    data, test, val = setup.data, setup.data.split("test", size), setup.data.split("val", size)
    facts = {
        "data": {
            "source": data_name(data.info.source, data.info.origin),
            "fingerprint": data.fingerprint,
        },
        "teacher": {
            "model": teacher.spec.architecture,
            "accuracy": score(compute_logits(teacher, test, device), test.labels).accuracy,
        },
        "recipe": params.distill.model_dump(),
        "host": asdict(describe_host()),
        "torch": torch.__version__,
        **analyze(setup, store, finals, compute_logits(teacher, val, device)),
    }
    paths.write_report("compare", facts, as_markdown(facts), as_page(facts))
    write_runs(paths.reports / "compare_runs.csv", facts)
    context.log.info("wrote reports/compare.json, .md, .html and compare_runs.csv")


def _check_students(context: Context, config: Compare, data: PreparedData) -> None:
    """Tries the network of every entry before any training."""
    from pipeline.models.checked_networks import check_networks

    students = (
        (f"entry {entry.name!r}: distill", context.params.distill.changed(entry.set | setting))
        for entry in config.entries
        for setting in entry.settings()
    )
    folder = context.paths.checked_networks
    info = data.info
    check_networks(
        students, info.image_size, folder, channels=info.channels, aspect_ratio=info.aspect_ratio
    )


def _open(context: Context, config: Compare, device: torch.device) -> ComparisonSetup:
    from functools import partial

    from pipeline.compare.runs import ComparisonSetup
    from pipeline.data.prepared import open_prepared
    from pipeline.data.stratify import stratify
    from pipeline.files import hash_file
    from pipeline.logit_cache import cache_key, open_logit_cache, open_packed_views
    from pipeline.models.classifier import read_head_weights
    from pipeline.models.record import read_teacher
    from pipeline.training.teacher import CachedTeacher

    params, paths = context.params, context.paths
    data = open_prepared(paths.prepared)
    record = read_teacher(paths.teacher, data.fingerprint)
    key = cache_key(record.sha256, data, params.views, record.image_size)
    logits = open_logit_cache(paths.teacher_logits, key, params.cache_logits)
    train, equal = data.split("train"), [1.0] * config.folds
    size = data.size_at(params.distill.image_size)
    return ComparisonSetup(
        compare=config,
        distill=params.distill,
        data=data,
        teacher=CachedTeacher(logits, open_packed_views(paths.teacher_logits, size)),
        head_weights=partial(read_head_weights, paths.teacher),
        cache_sha256=hash_file(paths.teacher_logits / "cache.json"),
        views=params.views,
        folds=stratify(train.labels, equal, config.fold_block, params.prepare.seed, train.groups),
        device=device,
    )


def _log(log: logging.Logger, finished: FinishedRun) -> None:
    run, record, minutes = finished.run, finished.record, round(finished.seconds_left / 60)
    setting = ", ".join(f"{key} = {value}" for key, value in run.setting.items())
    kind = f"seed {run.seed}" if run.fold is None else f"trial, fold {run.fold}"
    left = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    log.info(
        f"{finished.number}/{finished.total} {run.entry} ({setting or 'nothing tuned'}), {kind}: "
        f"{record['val_accuracy']:.1%}, {record['seconds']:.0f} s; about {left} left"
    )


if __name__ == "__main__":
    compare()
