"""What quantisation took, learned back."""

from stages.command import Context, between_steps, stage
from stages.console import track


@stage(
    reads="models/student/, models/teacher/, data/teacher_logits/, data/prepared/",
    writes="models/recovered/ (student.onnx, student-b1.onnx, recovery.json); recovery.json alone "
    "when recover.epochs is 0",
)
def recover(context: Context) -> None:
    """Train the student on with int8 in its forward pass, for candidates with method aware."""
    from pipeline.files import whole_folder, write_json
    from pipeline.recovery.requirements import check_requirements, compile_kernels

    params, place, run = context.params, context.place, context.params.run
    if not params.recover.epochs:
        with whole_folder(place.recovered) as folder:
            write_json(folder / "recovery.json", {"epochs": 0})
        context.log.info("recover.epochs is 0: nothing is recovered")
        return
    check_requirements()

    from dataclasses import asdict
    from functools import partial
    from importlib.metadata import version

    import torch

    from pipeline.models.classifier import load_classifier
    from pipeline.parity import parity_images
    from pipeline.quantize.calibration import draw_calibration
    from pipeline.recovery.fake_quantized import fake_quantize
    from pipeline.recovery.parity import check_roundings
    from pipeline.recovery.qdq import export_qdq
    from pipeline.recovery.recovering import recover as recover_student
    from pipeline.training.checkpoint import Checkpoints, checkpoint_key
    from pipeline.training.loop import train
    from stages.teaching import open_teaching
    from stages.training_record import EpochLog

    recipe = params.recover.recipe(params.distill)
    student, about = load_classifier(place.student, torch.device("cpu"))
    taught = open_teaching(context, recipe)
    compile_kernels()
    calibration = draw_calibration(taught.train, params.quantize.calibration_images, run.seed)
    quantized = fake_quantize(student, calibration)
    checkpoints = Checkpoints(
        place.checkpoints / "recover",
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
    with whole_folder(place.recovered) as folder:
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
            folder / "recovery.json",
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
        "wrote models/recovered: validation accuracy %.1f %% in fp32, %.1f %% in int8, %.1f %% "
        "recovered by %s, epoch %d",
        100 * recovered.accuracy_before,
        100 * recovered.accuracy_quantized,
        100 * recovered.accuracy,
        recipe.method,
        recovered.epoch,
    )


if __name__ == "__main__":
    recover()
