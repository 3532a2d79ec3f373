"""How training ends before its time when it is asked to."""


class TrainingStopped(Exception):
    """Training was asked to stop, and did after a whole step; its checkpoint is kept if it has one.

    Args:
        moment: The last step that was done.
    """

    def __init__(self, moment: str) -> None:
        self.moment = moment
        super().__init__(f"stopped after {moment}")
