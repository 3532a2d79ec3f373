"""One candidate ships."""

from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.params import Params
from stages.command import Context, stage


@stage(
    reads="models/candidates/, models/onnx/student.onnx, reports/evaluations/, data/prepared/ "
    "(class names), deploy/python/finch_runtime/",
    writes="dist/<name>.tar.gz, dist/manifest.json",
)
def bundle(context: Context) -> None:
    """Choose the candidate that ships and pack it with all that a device needs."""
    from pipeline.data.prepared import open_prepared
    from pipeline.files import hash_file, read_json, whole_folder, write_json
    from pipeline.measure.evaluation import read_evaluation
    from pipeline.shipping.bundle import Record, Winner, build_bundle
    from pipeline.shipping.choice import choose

    params, place = context.params, context.place
    rule = params.bundle
    measurements = place.evaluations / f"{rule.device}.json"
    evaluation = read_evaluation(measurements)
    selection = choose(evaluation, rule)
    for verdict in selection.verdicts:
        context.log.info("%-18s %s: %s", verdict.name, verdict.status, verdict.reason)

    data = open_prepared(place.prepared)
    student = read_json(place.student / "model.json")
    listed = read_json(place.candidates / "candidates.json")["candidates"]
    chosen = next(c for c in listed if c["name"] == selection.chosen)
    model = place.candidates / chosen["model"]
    record = Record(
        params=_public(params),
        candidates=[
            {**asdict(m), **asdict(v)}
            for v in selection.verdicts
            for m in (*evaluation.candidates, *evaluation.not_run)
            if m.name == v.name
        ],
        chosen={
            "name": selection.chosen,
            "reason": selection.reason,
            "device": evaluation.device,
        },
        made_from={
            "data": data.fingerprint,
            "teacher": student["teacher_logits"]["teacher"],
            "views": student["teacher_logits"]["views"],
            "student": student["weights_sha256"],
            "onnx": hash_file(place.onnx / "student.onnx"),
            "model": chosen["files"],
            "evaluation": hash_file(measurements),
        },
        data={key: data.info[key] for key in ("source", "origin", "licence")},
    )
    with whole_folder(place.dist) as folder:
        built = build_bundle(
            name=rule.name,
            created_by=f"finch {metadata.version('finch-edge')}",
            winner=Winner(model, chosen["runtime"], chosen["precision"], chosen["batch"]),
            portable=None if chosen["runtime"] == "onnxruntime" else place.onnx / "student.onnx",
            labels=data.classes,
            image_size=data.image_size,
            fit=data.info["fit"],
            threads=evaluation.threads,
            record=record,
            data_licence=(
                f"The model was trained on photographs of {data.info['source']} "
                f"({data.info['origin']}).\nTheir licence: {data.info['licence']}\n"
            ),
            runtime_folder=place.runtime,
            out=folder / f"{rule.name}.tar.gz",
        )
        write_json(folder / "manifest.json", built.manifest)
    context.log.info(
        "wrote dist/%s.tar.gz (%.2f MB, model %.2f MB): %s, %s",
        rule.name,
        built.bytes / 1e6,
        built.model_bytes / 1e6,
        selection.chosen,
        selection.reason,
    )


def _public(params: Params) -> dict[str, Any]:
    """The parameters without folders and hosts, which are nobody else's business."""
    values = params.model_dump()
    values["evaluate"]["devices"] = [{"name": d.name} for d in params.evaluate.devices]
    if params.prepare.path:
        values["prepare"]["path"] = Path(params.prepare.path).name
    return values


if __name__ == "__main__":
    bundle()
