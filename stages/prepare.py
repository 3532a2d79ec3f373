"""Lists, audits, splits and packs the images."""

from dataclasses import replace

from stages.command import Context, stage
from stages.console import track


@stage(
    reads="the data source prepare.source",
    writes="data/prepared/ (a uint8 file per split, dataset.json), reports/audit.json, "
    "reports/audit.html",
)
def prepare(context: Context) -> None:
    """Audit, split and pack the images. An interrupted run resumes from the decoded images."""
    from pipeline.data.audit import check_bad, check_leakage, count_findings, examine, report
    from pipeline.data.decoding import decode
    from pipeline.data.packing import pack
    from pipeline.data.sources import read_source
    from pipeline.data.split import merge_groups, split_dataset
    from pipeline.files import atomic_file, write_json
    from pipeline.report.audit_page import render_audit

    params, paths = context.params.prepare, context.paths
    dataset = read_source(params)
    decoded = decode(
        dataset.samples,
        paths.partial_prepare,
        image_size=params.image_size,
        fit=params.fit,
        workers=params.workers,
        track=track,
    )
    audit = examine(dataset, decoded, near_distance=params.near_duplicate_distance, track=track)
    usable = replace(dataset, samples=audit.usable.samples)
    try:
        check_bad(audit, skip=params.on_bad == "skip")
        near = audit.near.pairs if params.near_duplicates_together else audit.near.pairs[:0]
        usable = merge_groups(usable, near)
        splits = split_dataset(usable, params)
        audit = replace(audit, splits=splits)
    finally:
        # Also written after an error, because the audit explains it.
        write_json(paths.reports / "audit.json", report(audit))
        with atomic_file(paths.reports / "audit.html") as temporary:
            temporary.write_text(render_audit(audit), encoding="utf-8")
    counts = count_findings(audit)
    _warn(context, counts)
    check_leakage(audit, allow=params.allow_leakage)
    # Copies belong together, too; only the splits ignore that, so that the check above sees them.
    grouped = merge_groups(usable, audit.copy_pairs)
    data = pack(grouped, audit.usable, splits, paths.prepared, audit=counts, track=track)
    decoded.discard()
    context.log.info(
        "wrote data/prepared: %d classes, %s images of %d px (license: %s)",
        len(data.classes),
        ", ".join(f"{name} {split.images}" for name, split in data.info.splits.items()),
        data.image_size,
        dataset.license,
    )


def _warn(context: Context, counts: dict[str, object]) -> None:
    """Logs one line per kind of finding that needs attention."""
    warn = context.log.warning
    if counts["bad"]:
        warn("%d of %d images cannot be used", counts["bad"], counts["photographs"])
    if groups := counts["parted_groups"]:
        warn("%d groups are in more than one published split; see reports/audit.json", groups)
    for key, unit in (("exact_duplicates", "groups of copies"), ("near_duplicates", "pairs")):
        found = counts[key]
        if isinstance(found, dict) and found["found"]:
            warn(
                "%s: %d %s, %d across splits, %d with different labels; see reports/audit.html",
                key.replace("_", " "),
                found["found"],
                unit,
                found["across_splits"],
                found["across_labels"],
            )


if __name__ == "__main__":
    prepare()
