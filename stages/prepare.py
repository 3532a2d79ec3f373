"""Photographs to packed, split, named images, and an audit of them."""

from dataclasses import replace

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="the source that prepare.source names",
    writes="data/prepared/ (a uint8 file per split, dataset.json), reports/audit.json, "
    "reports/audit.html",
)
def prepare(context: Context) -> None:
    """Audit, split and pack the photographs.

    May be ended at any moment: the next run goes on from what was decoded.
    """
    from pipeline.data.audit import count_findings, examine, refuse_bad, refuse_leaks, report
    from pipeline.data.decoded import decode
    from pipeline.data.packing import pack
    from pipeline.data.sources import read_source
    from pipeline.data.split import keep_together, split_photos
    from pipeline.files import whole_file, write_json
    from pipeline.report.audit_page import render_audit

    params, place = context.params.prepare, context.place
    source = read_source(params)
    decoded = decode(
        source.photos,
        place.decoding,
        image_size=params.image_size,
        fit=params.fit,
        workers=params.workers,
        track=track,
    )
    audit = examine(source, decoded, near_distance=params.near_duplicate_distance, track=track)
    usable = replace(source, photos=audit.usable.photos)
    try:
        refuse_bad(audit, skip=params.on_bad == "skip")
        joined = audit.near.pairs if params.near_duplicates_together else audit.near.pairs[:0]
        splits = split_photos(keep_together(usable, joined), params)
        audit = audit.with_splits(splits)
    finally:
        # Also when it stops here: the audit is what says why.
        write_json(place.reports / "audit.json", report(audit))
        with whole_file(place.reports / "audit.html") as temporary:
            temporary.write_text(render_audit(audit), encoding="utf-8")
    counts = count_findings(audit)
    _warn(context, counts)
    refuse_leaks(audit, allow=params.allow_leakage)
    data = pack(usable, audit.usable, splits, place.prepared, audit=counts, track=track)
    decoded.discard()
    context.log.info(
        "wrote data/prepared: %d classes, %s images of %d px (licence: %s)",
        len(data.classes),
        ", ".join(f"{name} {info['images']}" for name, info in data.info["splits"].items()),
        data.image_size,
        source.licence,
    )


def _warn(context: Context, counts: dict[str, object]) -> None:
    """One line per kind of finding that a person should look at."""
    warn = context.log.warning
    if counts["bad"]:
        warn("%d of %d photographs cannot be used", counts["bad"], counts["photographs"])
    if counts["parted_groups"]:
        warn(
            "%d groups lie in more than one of the published splits; see reports/audit.json",
            counts["parted_groups"],
        )
    for key, what in (("exact_duplicates", "groups of copies"), ("near_duplicates", "pairs")):
        found = counts[key]
        if isinstance(found, dict) and found["found"]:
            warn(
                "%s: %d %s, %d across splits, %d under two labels; see reports/audit.html",
                key.replace("_", " "),
                found["found"],
                what,
                found["across_splits"],
                found["across_labels"],
            )


if __name__ == "__main__":
    prepare()
