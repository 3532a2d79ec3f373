"""Stage ``bundle``: selects the candidate to ship and packs it."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
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
    """Select the candidate to ship and pack it with everything that a device needs."""
    from pipeline.files import whole_folder, write_json
    from pipeline.measure.evaluation import read_evaluation
    from pipeline.shipping.bundle import build_bundle
    from pipeline.shipping.select import select_candidate

    rule, paths = context.params.bundle, context.paths
    evaluation = read_evaluation(paths.evaluations / f"{rule.device}.json")
    selection = select_candidate(evaluation, rule)
    for verdict in selection.verdicts:
        context.log.info("%-18s %s: %s", verdict.name, verdict.status, verdict.reason)
    spec = _spec(context, evaluation, selection)
    with whole_folder(paths.dist) as folder:
        built = build_bundle(spec, paths.runtime, folder / f"{rule.name}.tar.gz")
        write_json(folder / "manifest.json", built.manifest)
    context.log.info(
        "wrote dist/%s.tar.gz (%.2f MB, model %.2f MB): %s, %s",
        rule.name,
        built.bytes / 1e6,
        built.model_bytes / 1e6,
        selection.chosen,
        selection.reason,
    )


def _spec(context: Context, evaluation: "Evaluation", selection: "Selection") -> "BundleSpec":
    from pipeline.data.prepared import open_prepared
    from pipeline.files import read_json
    from pipeline.shipping.bundle import BundleSpec, Provenance, ShippedModel

    paths = context.paths
    data = open_prepared(paths.prepared)
    listed = read_json(paths.candidates / "candidates.json")["candidates"]
    chosen = next(c for c in listed if c["name"] == selection.chosen)
    files = sorted(chosen["files"], key=lambda path: path != chosen["model"])
    student = paths.onnx / "student.onnx"
    measured = {m.name: asdict(m) for m in evaluation.candidates}
    measured |= {m.name: asdict(m) for m in evaluation.not_run}
    return BundleSpec(
        name=context.params.bundle.name,
        created_by=f"finch {metadata.version('finch-edge')}",
        model=ShippedModel(
            tuple(paths.candidates / path for path in files),
            chosen["runtime"],
            chosen["precision"],
            chosen["batch"],
        ),
        portable=None if chosen["runtime"] == "onnxruntime" else student,
        labels=data.classes,
        image_size=data.image_size,
        fit=data.info["fit"],
        threads=evaluation.threads,
        provenance=Provenance(
            params=_public(context.params),
            candidates=[{**measured[v.name], **asdict(v)} for v in selection.verdicts],
            chosen={
                "name": selection.chosen,
                "reason": selection.reason,
                "device": evaluation.device,
            },
            made_from=_hashes(context, data.fingerprint, chosen["files"]),
            data={key: data.info[key] for key in ("source", "origin", "licence")},
        ),
        data_license=(
            f"The model was trained on images of {data.info['source']} "
            f"({data.info['origin']}).\nTheir license: {data.info['licence']}\n"
        ),
    )


def _hashes(context: Context, data: str, model: Mapping[str, str]) -> dict[str, Any]:
    from pipeline.files import hash_file, read_json

    paths = context.paths
    student = read_json(paths.student / "model.json")
    return {
        "data": data,
        "teacher": student["teacher_logits"]["teacher"],
        "views": student["teacher_logits"]["views"],
        "student": student["weights_sha256"],
        "onnx": hash_file(paths.onnx / "student.onnx"),
        "model": model,
        "evaluation": hash_file(paths.evaluations / f"{context.params.bundle.device}.json"),
    }


def _public(params: Params) -> dict[str, Any]:
    """The parameters without private folders and host names."""
    values = params.model_dump()
    values["evaluate"]["devices"] = [{"name": d.name} for d in params.evaluate.devices]
    if params.prepare.path:
        values["prepare"]["path"] = Path(params.prepare.path).name
    return values


if __name__ == "__main__":
    bundle()
