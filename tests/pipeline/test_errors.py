import pickle
from pathlib import Path

import pytest

from pipeline import errors

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.FinchError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_of_a_worker_process_arrives_whole(kind):
    error = kind(Path("data/prepared"), "is missing", "run it again")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) == "data/prepared: is missing; run it again"
    assert vars(copy) == vars(error)


def test_the_message_of_a_library_becomes_one_short_line():
    assert errors.one_line(ValueError("no route\n  to host")) == "no route to host"
    assert errors.one_line(EOFError()) == "EOFError"
    assert len(errors.one_line(RuntimeError("tensor, " * 1000))) <= 300
