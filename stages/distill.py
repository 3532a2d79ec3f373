"""The student."""

from stages.command import Context, between_steps, stage
from stages.console import track


@stage(
    reads="data/teacher_logits/, data/prepared/, models/teacher/",
    writes="models/student/ (safetensors, model.json, class_order.json), reports/student.json, "
    "reports/student_history.csv",
    together=True,
)
def distill(context: Context) -> None:
    """Train the student on the labels and on the teacher's logits, cached or live."""
    import torch

    from pipeline.losses.figkd.class_order import describe_order
    from pipeline.models.classifier import save_classifier
    from pipeline.models.pretrained import start_classifier
    from pipeline.training.checkpoint import Checkpoints, checkpoint_key
    from pipeline.training.distillation_inputs import open_distillation_inputs
    from pipeline.training.distributed import join
    from pipeline.training.loop import train
    from stages.training_log import EpochLog, write_figures, write_history

    run, params, place = context.params.run, context.params.distill, context.place
    taught = open_distillation_inputs(
        context.params,
        params,
        prepared=place.prepared,
        teacher_folder=place.teacher,
        teacher_logits=place.teacher_logits,
    )
    data, val, device = taught.data, taught.val, taught.device
    described = describe_order(params.class_order, taught.order, data.classes)
    student = start_classifier(params, data.classes, data.image_size)
    checkpoints = Checkpoints(
        place.checkpoints / "distill",
        checkpoint_key(student, device, **taught.facts),
        run.checkpoint_minutes,
    )
    epochs = EpochLog(context.log, params.epochs, place.reports / "dvclive/distill")
    with join(device) as group, between_steps() as stop:
        trained = train(
            student,
            taught.objective,
            params,
            taught.train,
            val,
            context.params.views,
            device=device,
            seed=run.seed,
            group=group,
            teacher=taught.teacher,
            checkpoints=checkpoints,
            stop=stop,
            track=track,
            on_epoch=epochs.done,
            on_resume=epochs.resumed,
        )
    if not group.is_main:
        return
    figures = write_figures(place.reports / "student.json", trained, val, device)
    write_history(place.reports / "student_history.csv", trained.history)
    save_classifier(
        place.student,
        trained.model,
        {
            "data": data.fingerprint,
            "teacher_logits": vars(taught.cache),
            "class_order": {"order": taught.order, "sha256": described["sha256"]},
            "recipe": params.model_dump(),
            "torch": torch.__version__,
        },
        beside={"class_order.json": described},
    )
    checkpoints.clear()
    context.log.info(
        "wrote models/student: %s by %s, validation accuracy %.1f %% (balanced %.1f %%), epoch %d",
        params.model,
        params.method,
        100 * figures["val_accuracy"],
        100 * figures["val_balanced_accuracy"],
        trained.best.epoch,
    )


if __name__ == "__main__":
    distill()
