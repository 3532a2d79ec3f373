"""Lists, audits, splits and packs the images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stages.command import Context, stage
from stages.console import track

if TYPE_CHECKING:
    from pipeline.data.audit import Audit
    from pipeline.data.decoding import DecodedImages
    from pipeline.data.sources import ImageDataset, Sample
    from pipeline.data.unlabelled import UnlabelledAudit


@stage(
    reads="the data source prepare.source",
    writes="data/prepared/ (a uint8 file per split, dataset.json), reports/audit.json, "
    "reports/audit.html",
)
def prepare(context: Context) -> None:
    """Audit, split and pack the images. An interrupted run resumes from the decoded images."""
    from pipeline.data.audit import check_leakage, count_findings
    from pipeline.data.lost_images import check_lost
    from pipeline.data.sources import plan_splits, read_source
    from pipeline.data.unlabelled import check_unlabelled
    from stages.images import decode_images

    params = context.params.prepare
    dataset = read_source(params)
    _log_listing(context, dataset)
    check_lost(dataset, [], max_loss=params.max_loss)
    listed = (*dataset.samples, *_list_unlabelled(context, dataset))
    decoded = decode_images(context.params, listed, context.paths.partial_prepare)
    audit, grouped, others = _audit_and_split(context, dataset, decoded)
    plan = plan_splits(grouped, params.split)
    counts = {**count_findings(audit), "split": {"method": plan.method, "carved": plan.carved}}
    _warn(context, audit, counts)
    check_leakage(audit, allow=params.allow_leakage)
    if others:
        check_unlabelled(others, skip=params.on_bad == "skip")
        context.log.info("%s", others.describe())
    _pack(context, audit, grouped, others, counts)
    decoded.discard()


def _log_listing(context: Context, dataset: ImageDataset) -> None:
    """Logs what the source found: images, files that are passed over by suffix, and remarks."""
    from pipeline.data.sources.passed_over import count_by_suffix, describe

    log = context.log
    log.info("found %d images of %d classes", len(dataset.samples), len(dataset.classes))
    for kind in count_by_suffix(dataset.passed_over):
        level = log.warning if kind.is_image else log.info
        level("passed over %s, such as %s", describe([kind]), kind.examples[0])
    for remark in dataset.remarks:
        log.info("%s", remark)


def _list_unlabelled(context: Context, dataset: ImageDataset) -> tuple[Sample, ...]:
    """The images without labels; logs those that are passed over."""
    from pipeline.data.sources.passed_over import count_by_suffix, describe
    from pipeline.data.sources.unlabelled import read_unlabelled

    listed = read_unlabelled(context.params.prepare, dataset)
    for kind in count_by_suffix(listed.unread):
        what, example = describe([kind]), kind.examples[0]
        context.log.warning("passed over %s without labels, such as %s", what, example)
    return listed.samples


def _audit_and_split(
    context: Context, dataset: ImageDataset, decoded: DecodedImages
) -> tuple[Audit, ImageDataset, UnlabelledAudit | None]:
    """Audits all images, and assigns each usable image to a split.

    The audit is also written after an error, because it has the reason.

    Returns:
        The audit; the usable images in groups that no split parts; the audit of the images without
        labels, which are the last ones of ``decoded``.
    """
    from pipeline.data.audit import check_bad, examine, report
    from pipeline.data.file_hints import remark_on_files
    from pipeline.data.lost_images import check_lost
    from pipeline.data.session_advice import remark_on_sessions
    from pipeline.data.split import merge_groups, split_dataset
    from pipeline.data.unlabelled import audit_unlabelled
    from pipeline.files import atomic_file, write_json
    from pipeline.report.audit_page import render_audit

    params, reports, count = context.params.prepare, context.paths.reports, len(dataset.samples)
    labelled = decoded.select(range(count))
    audit = examine(dataset, labelled, near_distance=params.near_duplicate_distance, track=track)
    audit = _with_remark(context, audit, remark_on_files(audit.usable))
    others = None
    try:
        check_bad(audit, skip=params.on_bad == "skip")
        check_lost(dataset, [sample for sample, _ in audit.bad], max_loss=params.max_loss)
        audit = _group(context, audit)
        usable = replace(dataset, samples=audit.usable.samples)
        near = audit.near.pairs if params.near_duplicates_together else audit.near.pairs[:0]
        grouped = merge_groups(usable, near)
        audit = replace(audit, splits=split_dataset(grouped, params))
        audit = _with_remark(context, audit, remark_on_sessions(audit, params))
        if len(decoded) > count:
            added = decoded.select(range(count, len(decoded)))
            others = audit_unlabelled(added, audit, track=track)
    finally:
        listed = {"unlabelled": others.report()} if others else {}
        write_json(reports / "audit.json", report(audit) | listed)
        with atomic_file(reports / "audit.html") as temporary:
            temporary.write_text(render_audit(audit), encoding="utf-8")
    return audit, grouped, others


def _pack(
    context: Context,
    audit: Audit,
    grouped: ImageDataset,
    others: UnlabelledAudit | None,
    counts: dict[str, object],
) -> None:
    """Writes the packed images."""
    from finch_runtime.image_size import as_text

    from pipeline.data.packing import pack
    from pipeline.data.split import merge_groups

    # One more file that is no image must not train the networks again.
    stored = {key: count for key, count in counts.items() if key != "other_files"}
    data = pack(
        # Copies belong together, too; only the splits ignore that, so that the check of leakage
        # sees them.
        merge_groups(grouped, audit.copy_pairs),
        audit.usable,
        audit.splits,
        context.paths.prepared,
        aspect_ratio=context.params.prepare.aspect_ratio,
        audit=stored,
        unlabelled=others.kept if others else None,
        track=track,
    )
    context.log.info(
        "wrote data/prepared: %d classes, %s images of %s px (license: %s)",
        len(data.classes),
        ", ".join(f"{name} {split.images}" for name, split in data.info.splits.items()),
        " and ".join(map(as_text, context.params.image_sizes)),
        audit.dataset.license,
    )


def _group(context: Context, audit: Audit) -> Audit:
    """The audit with groups by EXIF data, if ``prepare.group_by`` asks for them."""
    from pipeline.data.sources.grouping import CAPTURE_WORDS, group_by_capture

    group_by = context.params.prepare.group_by
    if group_by not in CAPTURE_WORDS:
        return audit
    usable = replace(audit.dataset, samples=audit.usable.samples)
    field = "capture_time" if group_by == "capture_day" else "camera"
    grouped, remarks = group_by_capture(usable, audit.usable.records[field], group_by)
    audit = replace(audit, usable=replace(audit.usable, samples=grouped.samples))
    for remark in remarks:
        audit = _with_remark(context, audit, remark)
    return audit


def _with_remark(context: Context, audit: Audit, remark: str | None) -> Audit:
    """The audit with a remark on its data set, which is also logged."""
    if not remark:
        return audit
    context.log.warning("%s", remark)
    remarks = (*audit.dataset.remarks, remark)
    return replace(audit, dataset=replace(audit.dataset, remarks=remarks))


def _warn(context: Context, audit: Audit, counts: dict[str, object]) -> None:
    """Logs one line per kind of finding that needs attention."""
    warn = context.log.warning
    if counts["bad"]:
        warn("%d of %d images cannot be used", counts["bad"], counts["photographs"])
    if others := audit.other_format:
        name, remark = audit.usable.samples[others[0]].name, audit.usable.remarks[others[0]]
        warn(
            "%d images have the suffix of another format, such as %s, which %s; they are read by "
            "content",
            len(others),
            name,
            remark,
        )
    if blank := audit.blank:
        name = audit.usable.samples[blank[0]].name
        warn("%d images are of one color, such as %s", len(blank), name)
    if dark := audit.dark:
        warn(
            "%d images are nearly black, such as %s; if their pixels of 10 or 12 bits are stored "
            "in 16, multiply them by 64 or 16",
            len(dark),
            audit.usable.samples[dark[0]].name,
        )
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
