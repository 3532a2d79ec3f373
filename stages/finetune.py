"""The teacher."""

from stages.command import Context, between_steps, stage
from stages.console import track


@stage(
    reads="data/prepared/, pretrained weights",
    writes="models/teacher/ (safetensors, model.json), reports/teacher.json, "
    "reports/teacher_history.csv",
    together=True,
)
def finetune(context: Context) -> None:
    """Fine-tune the teacher on the prepared photographs."""
    import torch

    from pipeline.data.prepared import open_prepared
    from pipeline.losses import CrossEntropy
    from pipeline.models.classifier import save_classifier
    from pipeline.models.pretrained import start_classifier
    from pipeline.training.checkpoint import Checkpoints, checkpoint_key
    from pipeline.training.device import prepare_torch
    from pipeline.training.distributed import join
    from pipeline.training.loop import train
    from stages.training_log import EpochLog, write_figures, write_history

    run, params, place = context.params.run, context.params.finetune, context.place
    data = open_prepared(place.prepared)
    device = prepare_torch(run)
    teacher = start_classifier(params, data.classes, data.image_size)
    val = data.split("val")
    key = checkpoint_key(
        teacher,
        device,
        recipe=params.model_dump(),
        views=context.params.views.model_dump(),
        data=data.fingerprint,
        seed=run.seed,
    )
    checkpoints = Checkpoints(place.checkpoints / "finetune", key, run.checkpoint_minutes)
    epochs = EpochLog(context.log, params.epochs, place.reports / "dvclive/finetune")
    with join(device) as group, between_steps() as stop:
        trained = train(
            teacher,
            CrossEntropy(params.label_smoothing),
            params,
            data.split("train"),
            val,
            context.params.views,
            device=device,
            seed=run.seed,
            group=group,
            freeze_epochs=params.freeze_epochs,
            checkpoints=checkpoints,
            stop=stop,
            track=track,
            on_epoch=epochs.done,
            on_resume=epochs.resumed,
        )
    if not group.is_main:
        return
    figures = write_figures(place.reports / "teacher.json", trained, val, device)
    write_history(place.reports / "teacher_history.csv", trained.history)
    save_classifier(
        place.teacher,
        trained.model,
        {"data": data.fingerprint, "recipe": params.model_dump(), "torch": torch.__version__},
    )
    checkpoints.clear()
    context.log.info(
        "wrote models/teacher: %s, validation accuracy %.1f %% (balanced %.1f %%, largest class "
        "%.1f %%), epoch %d",
        params.model,
        100 * figures["val_accuracy"],
        100 * figures["val_balanced_accuracy"],
        100 * figures["val_majority_share"],
        trained.best.epoch,
    )


if __name__ == "__main__":
    finetune()
