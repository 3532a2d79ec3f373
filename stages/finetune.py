"""Stage finetune: trains the teacher."""

from stages.command import Context, stage


@stage(
    reads="data/prepared/, pretrained weights",
    writes="models/teacher/ (safetensors, model.json), reports/teacher.json, "
    "reports/teacher_history.csv",
    distributed=True,
)
def finetune(context: Context) -> None:
    """Fine-tune the teacher on the prepared images."""
    from pipeline.data.prepared import open_prepared
    from pipeline.losses import CrossEntropy
    from pipeline.models.checked_networks import check_networks
    from pipeline.training.device import prepare_torch
    from pipeline.training.task import TrainingTask
    from stages.training import StageTraining

    params, recipe = context.params, context.params.finetune
    data = open_prepared(context.paths.prepared)
    # Before the teacher is trained for a student that cannot be.
    student = ("distill", params.distill)
    check_networks([student], data.image_size, context.paths.checked_networks)
    device = prepare_torch(params.run)
    loss = CrossEntropy(label_smoothing=recipe.label_smoothing)
    splits, frozen = (data.split("train"), data.split("val")), recipe.freeze_epochs
    task = TrainingTask(recipe, loss, *splits, params.views, freeze_epochs=frozen)
    key_inputs = {
        "recipe": recipe.model_dump(),
        "views": params.views.model_dump(),
        "data": data.fingerprint,
        "seed": params.run.seed,
    }
    training = StageTraining(context, "finetune", task, device, key_inputs)
    started = training.initialize(recipe, data)
    record = {"data": data.fingerprint, "initial": started.record}
    training.save("teacher", training.run(started.model), record)


if __name__ == "__main__":
    finetune()
