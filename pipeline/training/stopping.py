"""How training ends before its time when it is asked to."""

from pipeline.errors import Stopped


class TrainingStopped(Stopped):
    """Training was asked to stop, and did after a whole step; its checkpoint is kept if it has one.

    Args:
        moment: The last step that was done.
    """

    def __init__(self, moment: str) -> None:
        self.moment = moment
        super().__init__(f"training is kept and goes on after {moment}")
