"""Distillation methods on equal terms."""

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="data/prepared/, data/teacher_logits/, models/teacher/",
    writes="reports/compare.json, .md, .html and compare_runs.csv; finished runs stay in "
    ".finch/compare/",
    resumable=True,
)
def compare(context: Context) -> None:
    """Tune, train and judge the methods that compare.entries lists.

    May be interrupted and started again at any time, and started several times side by side: a run
    that is done is never done again.
    """
    from dataclasses import asdict
    from functools import partial

    import numpy as np
    import torch

    from pipeline.compare.analysis import judge
    from pipeline.compare.comparison import Done, run_comparison
    from pipeline.compare.runs import ComparisonSetup, RunStore
    from pipeline.data.prepared import open_prepared
    from pipeline.data.split import stratify
    from pipeline.files import whole_file, write_json
    from pipeline.logit_cache import cache_key, open_logit_cache, open_packed_views
    from pipeline.measure.accuracy import score
    from pipeline.measure.host import describe_host
    from pipeline.models.classifier import load_classifier
    from pipeline.models.head import read_head_weights
    from pipeline.report.comparison import as_markdown, as_page, write_runs
    from pipeline.training.device import prepare_torch
    from pipeline.training.teacher import CachedTeacher
    from pipeline.training.validation import compute_logits

    params, place = context.params, context.place
    device = prepare_torch(params.run)
    data = open_prepared(place.prepared)
    teacher, record = load_classifier(place.teacher, device)
    key = cache_key(record["weights_sha256"], data, params.views)
    labels = data.split("train").labels
    equal = np.ones(params.compare.folds)
    answers = CachedTeacher(
        open_logit_cache(place.teacher_logits, key), open_packed_views(place.teacher_logits)
    )
    bench = ComparisonSetup(
        data,
        answers,
        partial(read_head_weights, place.teacher),
        key,
        params.views,
        stratify(labels, equal, params.compare.fold_block, params.prepare.seed),
        device,
    )
    store = RunStore(place.compared)

    def log(done: Done) -> None:
        trial = ", ".join(f"{k} = {v}" for k, v in done.run.setting.items())
        context.log.info(
            "%d/%d %s (%s), %s: %.1f %%, %.0f s; about %s left",
            done.number,
            done.total,
            done.run.entry,
            trial or "nothing to set",
            "trial" if done.run.fold is not None else f"seed {done.run.seed}",
            100 * done.record["val_accuracy"],
            done.record["seconds"],
            _as_time(done.seconds_left),
        )

    finals = run_comparison(params.compare, params.distill, bench, store, track=track, on_done=log)
    val_logits = compute_logits(teacher, data.split("val"), device)
    test = data.split("test")
    facts = {
        "data": {"source": data.info["source"], "fingerprint": data.fingerprint},
        "teacher": {
            "model": teacher.spec.architecture,
            "accuracy": score(compute_logits(teacher, test, device), test.labels).accuracy,
        },
        "recipe": params.distill.model_dump(),
        "host": asdict(describe_host()),
        "torch": torch.__version__,
        **judge(params.compare, params.distill, bench, store, finals, val_logits),
    }
    write_json(place.reports / "compare.json", facts)
    for name, text in (("compare.md", as_markdown(facts)), ("compare.html", as_page(facts))):
        with whole_file(place.reports / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_runs(place.reports / "compare_runs.csv", facts)
    context.log.info("wrote reports/compare.json, .md, .html and compare_runs.csv")


def _as_time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


if __name__ == "__main__":
    compare()
