"""What quantisation took, learned back."""

from stages.command import Context, between_steps, stage
from stages.console import track


@stage(
    reads="models/student/, models/teacher/, data/teacher_logits/, data/prepared/",
    writes="models/qat/ (student.onnx, student-b1.onnx, qat.json); qat.json alone "
    "when qat.epochs is 0",
)
def qat(context: Context) -> None:
    """Train the student on with int8 in its forward pass, for candidates with method qat."""
    from pipeline.files import whole_folder, write_json
    from pipeline.qat.requirements import check_requirements, compile_kernels

    params, place, run = context.params, context.place, context.params.run
    if not params.qat.epochs:
        with whole_folder(place.qat) as folder:
            write_json(folder / "qat.json", {"epochs": 0})
        context.log.info("qat.epochs is 0: nothing is recovered")
        return
    check_requirements()

    from dataclasses import asdict
    from functools import partial
    from importlib.metadata import version

    import torch

    from pipeline.export.parity import parity_images
    from pipeline.models.classifier import load_classifier
    from pipeline.qat.fake_quantize import fake_quantize
    from pipeline.qat.parity import check_roundings
    from pipeline.qat.qdq_export import export_qdq
    from pipeline.qat.training import recover as recover_student
    from pipeline.quantize.calibration import draw_calibration
    from pipeline.training.checkpoint import Checkpoints, checkpoint_key
    from pipeline.training.distillation_inputs import open_distillation_inputs
    from pipeline.training.loop import train
    from stages.training_log import EpochLog

    recipe = params.qat.recipe(params.distill)
    student, about = load_classifier(place.student, torch.device("cpu"))
    taught = open_distillation_inputs(
        context.params,
        recipe,
        prepared=place.prepared,
        teacher_folder=place.teacher,
        teacher_logits=place.teacher_logits,
    )
    compile_kernels()
    calibration = draw_calibration(taught.train, params.quantize.calibration_images, run.seed)
    quantized = fake_quantize(student, calibration)
    checkpoints = Checkpoints(
        place.checkpoints / "qat",
        checkpoint_key(quantized, taught.device, **taught.facts),
        run.checkpoint_minutes,
    )
    epochs = EpochLog(context.log, recipe.epochs, place.reports / "dvclive/recover")
    with between_steps() as stop:
        learn = partial(
            train,
            objective=taught.objective,
            recipe=recipe,
            train_split=taught.train,
            val_split=taught.val,
            views=params.views,
            device=taught.device,
            seed=run.seed,
            teacher=taught.teacher,
            checkpoints=checkpoints,
            stop=stop,
            track=track,
            on_epoch=epochs.done,
            on_resume=epochs.resumed,
        )
        recovered = recover_student(student, quantized, learn, taught.val, taught.device)
    spec, native = student.spec, recovered.model.native()
    images = parity_images(taught.val)
    parity = {}
    with whole_folder(place.qat) as folder:
        for name, batch in (("student", "dynamic"), ("student-b1", 1)):
            path = folder / f"{name}.onnx"
            export_qdq(
                native,
                spec.mean,
                spec.std,
                spec.image_size,
                path,
                batch=batch,
                opset=params.export.opset,
            )
            parity[name] = asdict(
                check_roundings(
                    native, spec.mean, spec.std, path, images, tolerance=params.export.tolerance
                )
            )
        write_json(
            folder / "qat.json",
            {
                "epochs": recipe.epochs,
                "method": recipe.method,
                "seed": run.seed,
                **recovered.figures(),
                "history": [asdict(epoch) for epoch in recovered.history],
                "parity": parity,
                "student": about["weights_sha256"],
                "recipe": recipe.model_dump(),
                "nncf": version("nncf"),
                "torch": torch.__version__,
            },
        )
    checkpoints.clear()
    context.log.info(
        "wrote models/qat: validation accuracy %.1f %% in fp32, %.1f %% in int8, %.1f %% "
        "recovered by %s, epoch %d",
        100 * recovered.accuracy_before,
        100 * recovered.accuracy_quantized,
        100 * recovered.accuracy,
        recipe.method,
        recovered.epoch,
    )


if __name__ == "__main__":
    qat()
