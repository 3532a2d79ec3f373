"""The teacher answers once."""

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="models/teacher/, data/prepared/",
    writes="data/teacher_logits/ (logits.npy, cache.json)",
)
def cache_logits(context: Context) -> None:
    """Keep the teacher's logits on K seeded views of every training image."""
    from pipeline.data.prepared import open_prepared
    from pipeline.logit_cache import cache_key, write_logit_cache
    from pipeline.models.classifier import load_classifier
    from pipeline.training.device import prepare_torch

    params, place = context.params, context.place
    device = prepare_torch(params.run)
    data = open_prepared(place.prepared)
    teacher, info = load_classifier(place.teacher, device)
    written = write_logit_cache(
        place.teacher_logits,
        teacher,
        cache_key(info["weights_sha256"], data, params.views),
        data,
        params.views,
        views=params.cache_logits.views,
        dtype=params.cache_logits.dtype,
        batch_size=params.cache_logits.batch_size,
        device=device,
        pack_views=params.cache_logits.pack_views,
        track=track,
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
