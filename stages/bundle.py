"""Stage ``bundle``: selects the candidate to ship and packs it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.params import Params
from stages.command import Context, stage

if TYPE_CHECKING:
    from pipeline.measure.evaluation import Evaluation
    from pipeline.shipping.bundle import BundleSpec
    from pipeline.shipping.select import Selection


@stage(
    reads="models/candidates/, models/onnx/student.onnx, reports/evaluations/, data/prepared/ "
    "(class names), deploy/python/finch_runtime/",
    writes="dist/<name>.tar.gz, dist/manifest.json",
)
def bundle(context: Context) -> None:
    """Select a candidate and package it with everything that a device needs."""
    from pipeline.files import atomic_folder, write_json
    from pipeline.measure.evaluation import read_evaluation
    from pipeline.shipping.bundle import build_bundle
    from pipeline.shipping.select import select_candidate

    rule, paths = context.params.bundle, context.paths
    evaluation = read_evaluation(paths.evaluations / f"{rule.device}.json")
    selection = select_candidate(evaluation, rule)
    for verdict in selection.verdicts:
        context.log.info("%-18s %s: %s", verdict.name, verdict.status, verdict.reason)
    spec, archive = _spec(context, evaluation, selection), paths.dist / f"{rule.name}.tar.gz"
    with atomic_folder(paths.dist) as folder:
        manifest = build_bundle(spec, paths.runtime, folder / archive.name)
        write_json(folder / "manifest.json", manifest)
    context.log.info(
        "wrote dist/%s (%.2f MB, model %.2f MB): %s, %s",
        archive.name,
        archive.stat().st_size / 1e6,
        sum(path.stat().st_size for path in spec.files) / 1e6,
        selection.chosen,
        selection.reason,
    )


def _spec(context: Context, evaluation: "Evaluation", selection: "Selection") -> "BundleSpec":
    from pipeline.data.prepared import open_prepared
    from pipeline.files import hash_file, read_json
    from pipeline.shipping.bundle import BundleSpec

    paths, rule = context.paths, context.params.bundle
    data, student = open_prepared(paths.prepared), read_json(paths.student / "model.json")
    exported, about = paths.onnx / "student.onnx", data.info
    listed = read_json(paths.candidates / "candidates.json")["candidates"]
    chosen = next(c for c in listed if c["name"] == selection.chosen)
    files = sorted(chosen["files"], key=lambda path: path != chosen["model"])
    measured = {m.name: asdict(m) for m in (*evaluation.candidates, *evaluation.not_run)}
    record = {
        "params": _public(context.params),
        "candidates": [{**measured[v.name], **asdict(v)} for v in selection.verdicts],
        "chosen": {"name": chosen["name"], "reason": selection.reason, "device": evaluation.device},
        "made_from": {
            "data": data.fingerprint,
            "teacher": student["teacher_logits"]["teacher"],
            "views": student["teacher_logits"]["views"],
            "student": student["weights_sha256"],
            "onnx": hash_file(exported),
            "model": chosen["files"],
            "evaluation": hash_file(paths.evaluations / f"{rule.device}.json"),
        },
        "data": {"source": about.source, "origin": about.origin, "license": about.license},
    }
    return BundleSpec(
        name=rule.name,
        files=[paths.candidates / path for path in files],
        runtime=chosen["runtime"],
        precision=chosen["precision"],
        batch=chosen["batch"],
        portable=None if chosen["runtime"] == "onnxruntime" else exported,
        labels=data.classes,
        image_size=data.image_size,
        fit=about.fit,
        threads=evaluation.threads,
        record=record,
        data_license=f"The model was trained on images of {about.source} ({about.origin}).\n"
        f"Their license: {about.license}\n",
    )


def _public(params: Params) -> dict[str, Any]:
    """The parameters without private folders and host names."""
    values = params.model_dump()
    values["evaluate"]["devices"] = [{"name": d.name} for d in params.evaluate.devices]
    if params.prepare.path:
        values["prepare"]["path"] = Path(params.prepare.path).name
    return values


if __name__ == "__main__":
    bundle()
