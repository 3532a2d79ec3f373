"""Stage cache_logits: the teacher's logits for views of the training images."""

from stages.command import Context, stage
from stages.console import track
from stages.interruption import between_steps


@stage(
    reads="models/teacher/, data/prepared/",
    writes="data/teacher_logits/ (logits.npy, cache.json, views.npy if views are packed)",
)
def cache_logits(context: Context) -> None:
    """Cache the teacher's logits on views of the training images.

    A view is an augmented image; every image has cache_logits.views of them. After an interruption,
    the next run resumes from the last saved batch.
    """
    from functools import partial

    from pipeline.data.prepared import open_prepared
    from pipeline.logit_cache import CacheSource, cache_key, write_empty_cache, write_logit_cache
    from pipeline.logit_cache.fold_teachers import open_fold_teachers
    from pipeline.models.ensemble import load_teacher
    from pipeline.models.record import read_teacher
    from pipeline.provenance import check_params
    from pipeline.training.device import prepare_torch
    from pipeline.training.precision import resolve_precision

    params, views, paths = context.params.cache_logits, context.params.views, context.paths
    device = prepare_torch(context.params.run)
    data = open_prepared(paths.prepared)
    record = read_teacher(paths.teacher, data.fingerprint)
    check_params(
        paths.teacher / "model.json",
        "cache_logits",
        {"folds": 0 if record.folds is None else len(record.folds.teachers)},
        {"folds": params.folds},
    )
    teacher = load_teacher(paths.teacher, record, device)
    fold_teachers = open_fold_teachers(paths.teacher, record, teacher, device)
    key = cache_key(record.sha256, data, views, record.image_size)
    precision = resolve_precision(params.precision, device)
    size = data.size_at(context.params.distill.image_size)
    source = CacheSource(teacher, key, data, views, device, precision, fold_teachers, size)
    if params.views == 0:
        write_empty_cache(paths.teacher_logits, source, params)
        context.log.info("wrote no logits, since cache_logits.views is 0: distill runs the teacher")
        return
    with between_steps(finished="data/teacher_logits is written") as should_stop:
        info = write_logit_cache(
            paths.teacher_logits,
            source,
            params,
            work=paths.partial_logits,
            should_stop=should_stop,
            track=track,
            on_resume=partial(context.log.info, "resuming after %d of %d batches"),
        )
    _, images, classes = info.shape
    whose = "the teacher's accuracy on these views"
    if params.folds:
        whose = "the accuracy on these views, of teachers that did not learn from them,"
    context.log.info(
        f"wrote data/teacher_logits: {params.views} views of {images} images, {classes} classes, "
        f"{info.dtype}; {whose} is {info.train_accuracy:.1%}"
    )


if __name__ == "__main__":
    cache_logits()
