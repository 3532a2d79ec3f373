"""The teacher answers once."""

from stages.command import Context, between_steps, stage
from stages.console import track


@stage(
    reads="models/teacher/, data/prepared/",
    writes="data/teacher_logits/ (logits.npy, cache.json, views.npy if views are packed)",
)
def cache_logits(context: Context) -> None:
    """Keep the teacher's logits on K seeded views of every training image.

    May be ended at any moment: the next run goes on from what the teacher has answered.
    """
    from functools import partial

    from pipeline.data.prepared import open_prepared
    from pipeline.logit_cache import cache_key, write_empty_cache, write_logit_cache
    from pipeline.models.classifier import load_classifier
    from pipeline.training.device import prepare_torch
    from pipeline.training.precision import resolve_precision

    params, place = context.params.cache_logits, context.place
    device = prepare_torch(context.params.run)
    data = open_prepared(place.prepared)
    teacher, info = load_classifier(place.teacher, device)
    key = cache_key(info["weights_sha256"], data, context.params.views)
    if params.views == 0:
        write_empty_cache(place.teacher_logits, teacher, key, data)
        context.log.info("cached nothing (cache_logits.views = 0); distill asks the teacher itself")
        return
    with between_steps(finished="data/teacher_logits is written") as stop:
        written = write_logit_cache(
            place.teacher_logits,
            teacher,
            key,
            data,
            context.params.views,
            views=params.views,
            dtype=params.dtype,
            batch_size=params.batch_size,
            device=device,
            work=place.answering,
            precision=resolve_precision(params.precision, device),
            pack_views=params.pack_views,
            stop=stop,
            track=track,
            on_resume=partial(context.log.info, "goes on after %d of %d batches"),
        )
    views, images, classes = written["shape"]
    context.log.info(
        "wrote data/teacher_logits: %d views of %d images, %d classes, %s; the teacher is right "
        "on %.1f %% of them",
        views,
        images,
        classes,
        written["dtype"],
        100 * written["train_accuracy"],
    )


if __name__ == "__main__":
    cache_logits()
