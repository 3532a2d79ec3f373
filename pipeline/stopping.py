"""How long work ends before its time when it is asked to."""


class Stopped(Exception):
    """Work was asked to stop, and did between two steps.

    Args:
        kept: What there is of it, and where it goes on; for a person.
    """

    def __init__(self, kept: str) -> None:
        self.kept = kept
        super().__init__(f"stopped; {kept}")
