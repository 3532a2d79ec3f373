"""Photographs to packed, split, named images."""

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="the source that prepare.source names",
    writes="data/prepared/ (a uint8 file per split, dataset.json)",
)
def prepare(context: Context) -> None:
    """Split and pack the photographs."""
    from pipeline.data.prepared import pack
    from pipeline.data.sources import read_source
    from pipeline.data.split import split_photos

    params = context.params.prepare
    source = read_source(params)
    splits = split_photos(source, params)
    data = pack(
        source,
        splits,
        context.place.prepared,
        image_size=params.image_size,
        fit=params.fit,
        track=track,
    )
    counts = ", ".join(f"{name} {info['images']}" for name, info in data.info["splits"].items())
    context.log.info(
        "wrote data/prepared: %d classes, %s images of %d px (licence: %s)",
        len(data.classes),
        counts,
        data.image_size,
        source.licence,
    )


if __name__ == "__main__":
    prepare()
