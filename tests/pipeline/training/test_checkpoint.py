import random
import resource
import shutil
import signal
import time

import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from torch import nn

from pipeline.errors import ArtifactError, Stopped, StorageError, TrainingError
from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoints, checkpoint_key
from pipeline.training.loop import train
from pipeline.training.task import TrainingEnvironment
from tests.killable import Killable
from tests.pipeline.training.small_training import (
    network,
    recipe,
    small_task,
    train_in,
    train_small,
)
from tests.pipeline.training.toy_models import LossOf, classifier

CPU = torch.device("cpu")
HOUR = 60


def stopped_after(steps, checkpoints, **options):
    """Trains for some steps and stops, as after a signal."""
    left = iter(range(steps - 1))
    with pytest.raises(Stopped) as caught:
        train_small(checkpoints, should_stop=lambda: next(left, None) is None, **options)
    return caught.value


def assert_same(first, second):
    """Checks that weights are bit-identical and histories equal."""
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    assert first.history == second.history
    assert first.best == second.best


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw", "lr": 0.01, "ema_decay": 0.0, "clip_norm": 0.0},
        {"keep": "last", "momentum": 0.0, "accumulate": 3},
        {"precision": "fp16"},
        {"mixup": 0.4, "cutmix": 1.0},
        {"mixup": 0.4, "sampling": "balanced"},
        {"sampling": "square_root", "logit_adjustment": 1.0},
    ],
    ids=["sgd", "adamw", "accumulate", "fp16", "mixing", "balanced", "adjusted"],
)
def test_resuming_after_every_step_gives_the_same_weights(tmp_path, changes):
    settings = recipe(**changes)
    whole = train_small(settings=settings)
    resumed = []
    for step in range(4 * 4 - 1):
        checkpoints = Checkpoints(tmp_path, "key", HOUR)
        # With other initial weights, since all state must come from the checkpoint.
        stopped = stopped_after(
            1,
            checkpoints,
            settings=settings,
            model=network(seed=step),
            on_resume=lambda history, steps: resumed.append((len(history), steps)),
        )
        position = f"epoch {step // 4 + 1}, step {step + 1} (batch {step % 4 + 1} of 4)"
        assert stopped.kept.endswith(position)
    checkpoints = Checkpoints(tmp_path, "key", HOUR)
    assert_same(train_small(checkpoints, settings=settings, model=network(seed=99)), whole)
    # After the last step of an epoch, it stops before validation.
    assert resumed == [divmod(step, 4) if step % 4 else (step // 4 - 1, 4) for step in range(1, 15)]


class Tied(nn.Module):
    """Two convolutions with the same weights."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=4)
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, 4)

    def forward(self, pixels):
        return self.head(self.second(self.first(self.stem(pixels)).relu()).mean((2, 3)))


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "lr": 0.01, "ema_decay": 0.9}])
def test_tied_weights_stay_tied_when_training_resumes(tmp_path, changes):
    def tied(seed):
        torch.manual_seed(seed)
        return classifier(Tied(), 4)

    settings = recipe(**changes)
    whole = train_small(settings=settings, model=tied(0))
    stopped_after(6, Checkpoints(tmp_path, "key", HOUR), settings=settings, model=tied(0))
    resumed = train_small(Checkpoints(tmp_path, "key", HOUR), settings=settings, model=tied(1))
    assert_same(resumed, whole)
    backbone = resumed.model.backbone
    assert backbone.first.weight is backbone.second.weight
    assert checkpoint_key(tied(0), CPU) != checkpoint_key(tied(1), CPU)


def test_finished_run_does_not_train_again(tmp_path):
    whole = train_small(Checkpoints(tmp_path, "key", HOUR))
    steps = []
    again = train_small(
        Checkpoints(tmp_path, "key", HOUR), should_stop=lambda: steps.append(1) or False
    )
    assert steps == []
    assert_same(again, whole)


def test_checkpoint_contains_only_tensors_and_json(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key", HOUR)
    stopped_after(5, checkpoints)
    with safe_open(checkpoints.path, "pt") as file:
        parts = {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118
    assert parts == {"model", "ema", "best", "optimizer", "rng"}


def test_progress_bar_resumes(tmp_path):
    seen = []

    def track(items, description, total=None):
        for item in items:
            seen.append((item, total))
            yield item

    stopped_after(6, Checkpoints(tmp_path, "key", HOUR))
    train_small(Checkpoints(tmp_path, "key", HOUR), track=track)
    assert seen == [(step, 16) for step in range(16)]


def test_checkpoint_interval_within_an_epoch(tmp_path, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    checkpoints = Checkpoints(tmp_path, "key", minutes=2)
    save = checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda state: (save(state), saved.append(now[0])))

    def advance_clock():
        now[0] += 60
        return False

    train_small(checkpoints, images=40, settings=recipe(epochs=2), should_stop=advance_clock)
    # An epoch has five steps: every two minutes, and at the end of each epoch.
    assert saved == [120, 240, 300, 420, 540, 600]


def test_damaged_checkpoint_raises(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key", HOUR)
    stopped_after(3, checkpoints)
    whole = checkpoints.path.read_bytes()
    for size in (0, 5, 500, len(whole) - 1):
        checkpoints.path.write_bytes(whole[:size])
        with pytest.raises(ArtifactError, match=r"key\.safetensors: is damaged .*; delete it"):
            train_small(checkpoints)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"classes": 5}, r"backbone\.7\.weight.*\[4, 8\].*\[5, 8\]"),
        ({"width": 6}, r"backbone\.0\.weight.*\[8, 3, 3, 3\].*\[6, 3, 3, 3\]"),
    ],
)
def test_checkpoint_of_another_architecture_raises(tmp_path, other, expected):
    checkpoints = Checkpoints(tmp_path, "key", HOUR)
    stopped_after(3, checkpoints)
    with pytest.raises(ArtifactError, match=expected):
        train(
            network(**other),
            small_task(SQUARE),
            TrainingEnvironment(CPU, 5, checkpoints=checkpoints),
        )


def test_checkpoint_without_ema_raises_if_ema_is_enabled(tmp_path):
    stopped_after(3, Checkpoints(tmp_path, "key", HOUR), settings=recipe(ema_decay=0.0))
    with pytest.raises(ArtifactError, match=r"key\.safetensors: .*n_averaged"):
        train_small(Checkpoints(tmp_path, "key", HOUR))


def test_full_disk_keeps_the_previous_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key", HOUR)
    stopped_after(3, checkpoints)
    before = checkpoints.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError) as caught:
            train_small(checkpoints)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(str(tmp_path))
    assert "a file is larger than" in str(caught.value)
    assert "the previous checkpoint is intact" in str(caught.value)
    assert checkpoints.path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [checkpoints.path]
    assert_same(train_small(checkpoints), train_small())


SQUARE = LossOf(lambda logits: logits.square().mean())


def train_with_nan_gradients(checkpoints, step):
    """Trains with NaN gradients, but finite losses, from a step on; returns the error message."""
    steps = iter(range(1, 99))

    def loss(logits):
        if next(steps) < step:
            return logits.square().mean()
        return (logits - logits.detach()).abs().sqrt().sum()

    env = TrainingEnvironment(CPU, 5, checkpoints=checkpoints)
    with pytest.raises(TrainingError) as caught:
        train(network(), small_task(LossOf(loss)), env)
    return str(caught.value)


def test_non_finite_weights_are_never_saved(tmp_path):
    always = Checkpoints(tmp_path, "key", minutes=1e-9)
    message = train_with_nan_gradients(always, step=6)
    assert message.startswith("after epoch 2, step 6 (batch 2 of 4): ")
    assert "parameter backbone.0.weight" in message
    with safe_open(always.path, "pt") as file:
        assert all(torch.isfinite(file.get_tensor(n).float()).all() for n in file.keys())  # noqa: SIM118


def test_non_finite_parameter_is_named_at_the_next_step():
    message = train_with_nan_gradients(None, step=6)
    assert message.startswith("epoch 2, step 7 (batch 3 of 4): the loss is nan")
    assert "parameter backbone.0.weight" in message


def test_checkpoint_key_depends_on_every_input(monkeypatch):
    inputs = {"recipe": {"lr": 0.1}, "seed": 1}
    key = checkpoint_key(network(), CPU, **inputs)
    assert key == checkpoint_key(network(), CPU, **inputs)
    others = {
        checkpoint_key(network(), CPU, **(inputs | {"recipe": {"lr": 0.2}})),
        checkpoint_key(network(), CPU, **(inputs | {"seed": 2})),
        checkpoint_key(network(seed=1), CPU, **inputs),
        checkpoint_key(network(classes=5), CPU, **inputs),
        checkpoint_key(network(), torch.device("cuda"), **inputs),
        key,
    }
    torch.set_num_threads(2)
    others.add(checkpoint_key(network(), CPU, **inputs))
    for library in (torch, torchvision, timm):
        monkeypatch.setattr(library, "__version__", "99.0")
        others.add(checkpoint_key(network(), CPU, **inputs))
    assert len(others) == 10


def test_partial_files_are_removed_and_other_checkpoints_kept(tmp_path):
    stopped_after(3, Checkpoints(tmp_path, "other", HOUR))
    (tmp_path / ".key.safetensors.x1y2.safetensors").write_bytes(b"half")
    ours = Checkpoints(tmp_path, "key", HOUR)
    stopped_after(3, ours)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["key.safetensors", "other.safetensors"]
    ours.clear()
    assert not tmp_path.exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_process_killed_at_random_times_gives_the_same_weights(tmp_path):
    killable = Killable(train_in)

    def results(folder):
        return [(folder / name).read_bytes() for name in ("weights.safetensors", "history.json")]

    log = tmp_path / "killed/log"

    def last_log():
        """Log lines of the last process."""
        lines = log.read_text().splitlines() if log.exists() else []
        return lines[len(lines) - lines[::-1].index("started") - 1 :] if lines else []

    killable.finish(tmp_path / "whole")
    killable.finish(tmp_path / "again")
    whole = results(tmp_path / "whole")
    assert results(tmp_path / "again") == whole
    rng = random.Random(7)
    # Number of steps before each kill, since times would depend on the machine. With 0 steps, the
    # process is killed while it reads the checkpoint.
    left = [0] * 4 + [rng.randint(1, 12) for _ in range(16)]
    rng.shuffle(left)
    possible = range(1)
    in_training = resumed = 0
    while left:
        before = log.read_text().count("started") if log.exists() else 0
        process = killable.start(tmp_path / "killed")
        while not log.exists() or log.read_text().count("started") == before:
            time.sleep(0.002)
        while last_log().count("step") < left[-1] and process.is_alive():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        steps = last_log().count("step")
        resumed_at = [int(line.split()[1]) for line in last_log() if "resumed" in line]
        if steps or resumed_at:  # otherwise it was killed before it read the checkpoint
            start = resumed_at[0] if resumed_at else 0
            # Only the step whose checkpoint was incomplete is lost.
            assert start in possible
            possible = range(start + max(steps - 1, 0), start + steps + 1)
        if process.exitcode == 0:  # it finished before the kill: start again
            assert results(tmp_path / "killed") == whole
            shutil.rmtree(tmp_path / "killed")
            possible = range(1)
            continue
        assert process.exitcode == -signal.SIGKILL
        assert steps >= left.pop()
        in_training += steps > 0
        resumed += bool(resumed_at)
    assert in_training >= 16
    assert resumed > in_training / 2
    killable.finish(tmp_path / "killed")
    assert any("resumed" in line for line in last_log())
    assert results(tmp_path / "killed") == whole
