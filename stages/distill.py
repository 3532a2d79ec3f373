"""Stage distill: trains the student."""

from stages.command import Context, stage


@stage(
    reads="data/teacher_logits/, data/prepared/, models/teacher/",
    writes="models/student/ (safetensors, model.json, class_order.json), reports/student.json, "
    "reports/student_history.csv",
    distributed=True,
)
def distill(context: Context) -> None:
    """Train the student with the labels and the teacher's logits."""
    from pipeline.losses.figkd.class_order import describe_order
    from pipeline.training.distillation_inputs import open_distillation_inputs
    from stages.training import StageTraining

    recipe, paths = context.params.distill, context.paths
    inputs = open_distillation_inputs(
        context.params, recipe, paths.prepared, paths.teacher, paths.teacher_logits
    )
    data, order = inputs.data, inputs.class_order
    class_order = describe_order(recipe.class_order, order, data.classes)
    training = StageTraining(context, "distill", inputs.task, inputs.device, inputs.key_inputs)
    started = training.initialize(recipe, data)
    record = {
        "data": data.fingerprint,
        "teacher_logits": vars(inputs.cache_key),
        "cache": inputs.cache_sha256,
        "class_order": {"order": order, "sha256": class_order["sha256"]},
        "initial": started.record,
    }
    files = {"class_order.json": class_order}
    training.save("student", training.run(started.model), record, files)


if __name__ == "__main__":
    distill()
