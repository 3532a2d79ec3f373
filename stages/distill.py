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
    from functools import partial

    import torch

    from pipeline import losses
    from pipeline.class_order import describe_order, order_classes
    from pipeline.data.prepared import open_prepared
    from pipeline.files import read_json
    from pipeline.logit_cache import (
        cache_key,
        check_classes,
        open_logit_cache,
        open_packed_views,
        read_cache,
    )
    from pipeline.models.classifier import load_classifier, save_classifier
    from pipeline.models.head import read_head_weights
    from pipeline.models.pretrained import start_classifier
    from pipeline.training.checkpoint import Checkpoints, checkpoint_key
    from pipeline.training.device import prepare_torch
    from pipeline.training.distributed import join
    from pipeline.training.loop import train
    from pipeline.training.precision import resolve_precision
    from pipeline.training.teacher import CachedTeacher, LiveTeacher
    from stages.training_record import EpochLog, write_figures, write_history

    run, params, place = context.params.run, context.params.distill, context.place
    views, answers = context.params.views, context.params.cache_logits
    data = open_prepared(place.prepared)
    train_split, val = data.split("train"), data.split("val")
    about = read_json(place.teacher / "model.json")
    check_classes(about["classes"], data.classes)
    key = cache_key(about["weights_sha256"], data, views)
    cache = read_cache(place.teacher_logits, key, answers.views)
    logits = open_logit_cache(place.teacher_logits, key) if answers.views else None
    order = order_classes(
        params.class_order,
        train_split.labels,
        logits,
        classes=data.classes,
        head=partial(read_head_weights, place.teacher),
    )
    described = describe_order(params.class_order, order, data.classes)
    device = prepare_torch(run)
    objective = losses.build(params, len(data.classes), order)
    student = start_classifier(params, data.classes, data.image_size)
    teacher: CachedTeacher | LiveTeacher | None = None
    if logits is not None:
        teacher = CachedTeacher(logits, open_packed_views(place.teacher_logits))
    elif objective.needs_teacher:
        precision = resolve_precision(answers.precision, device)
        teacher = LiveTeacher(load_classifier(place.teacher, device)[0], precision)
    checkpoints = Checkpoints(
        place.checkpoints / "distill",
        checkpoint_key(
            student,
            device,
            recipe=params.model_dump(),
            views=views.model_dump(),
            data=data.fingerprint,
            seed=run.seed,
            teacher=[cache["key"], cache["sha256"], cache["views_sha256"], answers.precision],
            class_order=order,
        ),
        run.checkpoint_minutes,
    )
    epochs = EpochLog(context.log, params.epochs, place.reports / "dvclive/distill")
    with join(device) as group, between_steps() as stop:
        trained = train(
            student,
            objective,
            params,
            train_split,
            val,
            views,
            device=device,
            seed=run.seed,
            group=group,
            teacher=teacher,
            checkpoints=checkpoints,
            stop=stop,
            track=track,
            on_epoch=epochs.done,
            on_resume=epochs.resumed,
        )
    if not group.leads:
        return
    figures = write_figures(place.reports / "student.json", trained, val, device)
    write_history(place.reports / "student_history.csv", trained.history)
    save_classifier(
        place.student,
        trained.model,
        {
            "data": data.fingerprint,
            "teacher_logits": vars(key),
            "class_order": {"order": order, "sha256": described["sha256"]},
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
