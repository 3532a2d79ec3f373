"""Stage ``bundle``: selects the candidate to ship and packs it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from stages.command import Context, stage

if TYPE_CHECKING:
    from pipeline.measure.evaluation import Evaluation
    from pipeline.shipping.bundle import BundleSpec
    from pipeline.shipping.inputs import BundleInputs
    from pipeline.shipping.quality import QualityVerdict
    from pipeline.shipping.select import Selection


@stage(
    reads="models/candidates/, models/onnx/student.onnx, models/student/model.json, "
    "reports/evaluations/, data/prepared/ (class names), deploy/python/finch_runtime/",
    writes="dist/<name>.tar.gz, dist/manifest.json",
)
def bundle(context: Context) -> None:
    """Select a candidate and package it for a device.

    The package has everything that a device needs but Python and its packages. Fails, and packages
    nothing, if the candidate violates a limit of the section `bundle`.
    """
    from pipeline.files import atomic_folder, write_json
    from pipeline.measure.evaluation import read_device
    from pipeline.provenance import check_params
    from pipeline.shipping.bundle import build_bundle
    from pipeline.shipping.inputs import read_inputs
    from pipeline.shipping.quality import check_verdict, judge
    from pipeline.shipping.select import select_candidate

    rule, paths = context.params.bundle, context.paths
    evaluated = paths.evaluations / f"{rule.device}.json"
    evaluation = read_device(paths.reports, rule.device)
    inputs = read_inputs(
        evaluation,
        evaluated=evaluated,
        prepared=paths.prepared,
        student=paths.student,
        exported=paths.onnx / "student.onnx",
        candidates=paths.candidates,
        runtime=paths.runtime,
    )
    # The manifest lists the parameters, so they must be those that the student was made with.
    recipe = context.params.distill.model_dump()
    check_params(paths.student / "model.json", "distill", inputs.student.recipe, recipe)
    selection = select_candidate(evaluation, rule)
    for each in selection.verdicts:
        context.log.info("%-18s %s: %s", each.name, each.status, each.reason)
    verdict = judge(evaluation, selection.chosen, rule)
    for reason in verdict.reasons:
        context.log.warning("%s: %s", reason.level, reason)
    check_verdict(verdict, selection.chosen)
    spec = _spec(context, inputs, evaluated, evaluation, selection, verdict)
    archive = paths.dist / f"{rule.name}.tar.gz"
    with atomic_folder(paths.dist) as folder:
        manifest = build_bundle(spec, paths.runtime, folder / archive.name)
        write_json(folder / "manifest.json", manifest)
    context.log.info(
        "wrote dist/%s (%.2f MB, model %.2f MB): %s, %s; verdict: %s",
        archive.name,
        archive.stat().st_size / 1e6,
        inputs.candidate(selection.chosen).bytes / 1e6,
        selection.chosen,
        selection.reason,
        verdict,
    )


def _spec(
    context: Context,
    inputs: "BundleInputs",
    evaluated: Path,
    evaluation: "Evaluation",
    selection: "Selection",
    verdict: "QualityVerdict",
) -> "BundleSpec":
    from pipeline.shipping.bundle import BundleSpec
    from pipeline.shipping.manifest import Chosen
    from pipeline.shipping.readme import read_commit
    from pipeline.shipping.requirements import requirements

    paths, rule, student, about = (
        context.paths,
        context.params.bundle,
        inputs.student,
        inputs.data.info,
    )
    chosen, portable = inputs.candidate(selection.chosen), paths.onnx / "student.onnx"
    files = sorted(chosen.files, key=lambda path: path != chosen.model)
    hashes = {paths.candidates / path: digest for path, digest in chosen.files.items()}
    measured = {m.name: asdict(m) for m in (*evaluation.candidates, *evaluation.not_run)}
    record = {
        "params": context.params.public(),
        "candidates": [{**measured[v.name], **asdict(v)} for v in selection.verdicts],
        "chosen": asdict(Chosen(chosen.name, selection.reason, evaluation.device)),
        "verdict": asdict(verdict),
        "measured_with": {"python": evaluation.host.python, **evaluation.host.packages},
        "made_from": asdict(inputs.made_from(chosen, evaluated)),
        "data": {"source": about.source, "origin": about.origin, "license": about.license},
    }
    return BundleSpec(
        name=rule.name,
        files=[paths.candidates / path for path in files],
        hashes=hashes | {portable: inputs.onnx[portable.name]},
        runtime=chosen.runtime,
        precision=chosen.precision,
        batch=chosen.batch,
        portable=None if chosen.runtime == "onnxruntime" else portable,
        labels=student.classes,
        image_size=student.image_size,
        channels=about.channels,
        fit=about.fit,
        threads=evaluation.threads,
        requirements=requirements(
            chosen.runtime,
            paths.candidates / chosen.model,
            evaluation.host.packages,
            evaluation.host.python,
            evaluation.device,
        ),
        record=record,
        data_license=f"The model was trained on images of {about.source} ({about.origin}).\n"
        f"Their license: {about.license}\n",
        commit=read_commit(paths.root),
    )


if __name__ == "__main__":
    bundle()
