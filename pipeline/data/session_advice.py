"""A warning where a split parts sessions: by how much validation may flatter, and what to write."""

from __future__ import annotations

from dataclasses import replace

from pipeline.data.audit import Audit
from pipeline.data.sources.grouping import group_by_capture, group_by_folder
from pipeline.data.sources.split_plan import plan_splits
from pipeline.data.split import merge_groups, split_dataset
from pipeline.errors import DataError
from pipeline.params import Prepare

MIN_SHARED = 0.05
"""A smaller fraction of a split that shares its sessions with training causes no warning."""

_TOLD_BY = {
    "capture_time": "as capture times tell",
    "folder": "if each folder below a class is a visit, a nest or a patient",
    "name": "if the numbers of file names run on during a visit",
}
_WORDS = {"capture_time": "capture_day", "folder": "folder"}
_BY_HAND = "put each visit into a folder below its class, and set prepare.group_by: folder"


def remark_on_sessions(audit: Audit, prepare: Prepare) -> str:
    """One line about sessions that are in training and in validation or test; empty if none.

    There is none if the images have groups already, by ``prepare.group_by`` or by the source, or if
    the splits are those that results of others refer to.
    """
    sessions, shared = audit.sessions, audit.shared_sessions
    if sessions is None or all(sample.group is not None for sample in audit.usable.samples):
        return ""
    is_published = plan_splits(audit.dataset, prepare.split).method == "published"
    if is_published and audit.dataset.comparable_splits:
        return ""
    if max((found.fraction for found in shared.values()), default=0) < MIN_SHARED:
        return ""
    titles = {"val": "validation", "test": "test"}
    counts = " and ".join(
        f"{found.shared} of {found.images} {titles[split]} images"
        for split, found in shared.items()
        if found.shared
    )
    nearer = "".join(
        f"; for {found.nearest:.0%} of these {titles[split]} images, the most similar training "
        f"image of the class is of the same session ({found.by_chance:.0%} by chance)"
        for split, found in list(shared.items())[:1]
        if found.is_nearer
    )
    verb = "is likely to" if sessions.told_by == "capture_time" else "may"
    return (
        f"validation {verb} flatter: {counts} are from sessions that training images are from, "
        f"too, {_TOLD_BY[sessions.told_by]}{nearer}; {_remedy(audit, prepare, is_published)}"
    )


def _remedy(audit: Audit, prepare: Prepare, is_published: bool) -> str:
    """What to write, tried out."""
    assert audit.sessions is not None
    word = _WORDS.get(audit.sessions.told_by)
    if word is None:
        return _BY_HAND
    change = f"set {'prepare.split: blocks and ' if is_published else ''}prepare.group_by: {word}"
    changed = {"group_by": word} | ({"split": "blocks"} if is_published else {})
    usable = replace(audit.dataset, samples=audit.usable.samples)
    try:
        if word == "folder":
            usable, _ = group_by_folder(usable)
        else:
            usable, _ = group_by_capture(usable, audit.usable.records["capture_time"], word)
        near = audit.near.pairs if prepare.near_duplicates_together else audit.near.pairs[:0]
        split_dataset(merge_groups(usable, near), prepare.model_copy(update=changed))
    except DataError as error:
        return f"to keep them together, {change}, which now fails: {error}"
    return f"to keep them together, {change}"
