"""What the sessions of the images say about the accuracy on other days."""

from collections.abc import Mapping
from typing import Any

from pipeline.data.prepared import DatasetInfo

MIN_SHARED = 0.05
"""A smaller fraction of test images that share their sessions with training is not mentioned."""

_TOLD_BY = {
    "capture_time": "capture times",
    "folder": "folders below the classes",
    "name": "numbers in file names",
}


def session_note(dataset: DatasetInfo) -> str:
    """One sentence for beside the accuracy; empty if other days are tested, or if it is unknown."""
    sessions = dataset.audit.get("sessions")
    if sessions is None:
        return ""
    told, is_timed = _TOLD_BY[sessions["told_by"]], sessions["told_by"] == "capture_time"
    another_day = "nothing here tells how the student does on another day"
    if is_timed and sessions["days"] == 1:
        return f"All images with a capture time were taken on one day: {another_day}."
    if is_timed and sessions["days_per_class"]["most"] == 1:
        return (
            f"The images of each class were taken on one day: {another_day}, nor whether it tells "
            "the classes or the days apart."
        )
    if sessions["per_class"]["most"] == 1:
        session = "session" if is_timed else f"session, as far as {told} tell"
        return f"The images of each class are from one {session}: {another_day}."
    shared, images = _shared(sessions)
    if shared >= MIN_SHARED * max(images, 1):
        return (
            f"{shared:,} of {images:,} test images are from sessions that training images are "
            f"from, too, as far as {told} tell: on another day, the accuracy may be lower."
        )
    return ""


def describe_sessions(dataset: DatasetInfo) -> str:
    """Number of sessions, and what tells them."""
    sessions = dataset.audit.get("sessions")
    if sessions is None:
        return (
            "not told by the files, so it is unknown whether the test images are from other days "
            "than the training images"
        )
    shared, images = _shared(sessions)
    return (
        f"{sessions['found']:,}, told by {_TOLD_BY[sessions['told_by']]}; {shared:,} of "
        f"{images:,} test images share one with training images"
    )


def _shared(sessions: Mapping[str, Any]) -> tuple[int, int]:
    """Number of test images whose session has training images, and of all test images."""
    test = sessions["shared"]["test"]
    return test["shared"], test["images"]
