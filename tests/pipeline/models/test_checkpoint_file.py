import argparse
import collections
import datetime
import decimal
import io
import os
import pathlib
import pickle
import sys
import types
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.errors import ParameterError
from pipeline.models.checkpoint_file import read_weights

TENSORS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(4)}


def equal(found, expected=TENSORS):
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.ckpt", "w.bin", "w.pth.tar", "w", "w.onnx"])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "compressed"])
def test_the_content_decides_how_a_file_is_read(tmp_path, name, kind):
    path = tmp_path / name
    if kind == "safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=kind != "legacy")
    if kind == "compressed":
        content = {n: zipfile.ZipFile(path).read(n) for n in zipfile.ZipFile(path).namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in content.items():
                archive.writestr(member, data)
    assert equal(read_weights(path).tensors)


@pytest.mark.parametrize(
    "key",
    ["state_dict", "model", "model_state_dict", "net", "weights", "module", "teacher"],
)
def test_the_tensors_are_found_below_the_usual_keys(tmp_path, key):
    torch.save({"epoch": 3, key: TENSORS, "classes": ["a"]}, tmp_path / "w.pth")
    read = read_weights(tmp_path / "w.pth")
    assert equal(read.tensors)
    assert read.section == key
    assert read.entries == {"epoch": 3, "classes": ["a"]}


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema_state_dict"])
def test_averaged_weights_come_first(tmp_path, key):
    plain = {name: tensor + 1 for name, tensor in TENSORS.items()}
    torch.save({"state_dict": plain, "model": plain, key: TENSORS}, tmp_path / "w.pth")
    read = read_weights(tmp_path / "w.pth")
    assert equal(read.tensors)
    assert read.section == key
    torch.save({"state_dict": plain, key: None}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").section == "state_dict"


def test_another_key_is_used_if_it_is_the_only_one_with_tensors(tmp_path):
    content = {"my_network": {"model": TENSORS}, "optimizer": {"state": {0: TENSORS}}}
    torch.save(content, tmp_path / "w.pth")
    read = read_weights(tmp_path / "w.pth")
    assert equal(read.tensors)
    assert read.section == "my_network.model"
    torch.save({"generator": TENSORS, "critic": TENSORS}, tmp_path / "w.pth")
    with pytest.raises(ParameterError, match="generator, critic"):
        read_weights(tmp_path / "w.pth")


def test_an_averaged_section_without_tensors_is_passed_over(tmp_path):
    torch.save({"ema": {"decay": 0.9}, "model": {"state_dict": TENSORS}}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").section == "model.state_dict"


def importable(patch, module, name, *bases):
    """A new class that pickle finds under this name."""
    made = type(name, bases, {"__module__": module, "__qualname__": name})
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        patch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(parts[end - 1]))
    setattr(sys.modules[module], name, made)
    return made


def test_the_facts_that_training_programs_save_do_not_need_their_packages(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kind = importable(patch, "lightning_fabric.utilities.data", "AttributeDict", dict)
        facts = {
            "hyper_parameters": kind(classes=["x", "y"]),
            "args": argparse.Namespace(lr=0.1, out=pathlib.PosixPath("/runs")),
            "best": np.float64(0.5),
            "curve": np.arange(3.0),
            "classes": np.array(["x", "yy"]),
            "log": collections.defaultdict(list, loss=[1.0]),
            "date": datetime.datetime(2024, 5, 6),
            "index": {"x": np.int64(0), "y": np.int32(1)},
        }
        torch.save({"state_dict": TENSORS, **facts}, tmp_path / "w.ckpt")
    read = read_weights(tmp_path / "w.ckpt")
    assert equal(read.tensors)
    assert read.entries["hyper_parameters"]["classes"] == ["x", "y"]
    assert read.entries["args"].lr == 0.1


def test_parameters_are_read_as_tensors_and_metadata_as_entries(tmp_path):
    torch.save({"w": nn.Parameter(torch.ones(2))}, tmp_path / "w.pth")
    assert not read_weights(tmp_path / "w.pth").tensors["w"].requires_grad
    save_file(TENSORS, tmp_path / "w.safetensors", {"classes": '["a", "b"]', "note": "x"})
    entries = read_weights(tmp_path / "w.safetensors").entries
    assert entries == {"classes": ["a", "b"], "note": "x"}


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_model_is_refused_with_how_to_save_its_tensors(tmp_path, zipped):
    torch.save(Own(), tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ParameterError, match=r"whole pickled model.*state_dict\(\)"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("module", "name", "problem"),
    [
        ("ultralytics.nn.tasks", "ClassificationModel", "ultralytics"),
        ("models.yolo", "ClassificationModel", "ultralytics"),
        ("fastai.learner", "Learner", "fastai"),
        ("omegaconf.dictconfig", "DictConfig", r"DictConfig.*'state_dict'"),
    ],
)
def test_objects_of_other_packages_are_named_and_not_loaded(
    tmp_path, monkeypatch, module, name, problem
):
    with monkeypatch.context() as patch:
        held = importable(patch, module, name)()
        torch.save({"model": held, "state_dict": TENSORS}, tmp_path / "w.pt")
    with pytest.raises(ParameterError, match=problem) as caught:
        read_weights(tmp_path / "w.pt")
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


class Command:
    def __init__(self, line):
        self.line = line

    def __reduce__(self):
        return os.system, (self.line,)


def test_a_command_in_a_checkpoint_is_not_run(tmp_path):
    torch.save({"x": Command(f"touch {tmp_path / 'run'}"), **TENSORS}, tmp_path / "w.pt")
    with pytest.raises(ParameterError, match="system"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "run").exists()


def endless():
    content = {}
    content["model"] = content["hparams"] = content
    return content


def script(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(path)


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(20_000_000))


def truncated(path, legacy=False):
    torch.save(TENSORS, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[:300])


def numpy_archive(path):
    buffer = io.BytesIO()
    np.savez(buffer, w=np.zeros(2))
    path.write_bytes(buffer.getvalue())


def cut_safetensors(path):
    save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: path.mkdir(), "folder"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"\xff" * 64), "neither"),
        (lambda path: path.write_bytes(b"PK\x03\x04 no archive"), "truncated"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "LFS"),
        (lambda path: path.write_text("<!DOCTYPE html><html>"), "web page"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64)), "HDF5"),
        (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64)), "TensorFlow Lite"),
        (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch"), "ONNX"),
        (lambda path: path.write_bytes(b"\x81\xa6params\x82"), "Flax"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(64)), "compressed"),
        (lambda path: torch.save([torch.ones(2)], path), "list"),
        (lambda path: torch.save({"epoch": 3}, path), "epoch"),
        (lambda path: torch.save({"rate": decimal.Decimal(1), **TENSORS}, path), "Decimal"),
        (lambda path: torch.save(endless(), path), "no tensors"),
        (lambda path: torch.save(TENSORS, path, pickle_protocol=4), "protocol"),
        (lambda path: path.write_bytes(pickle.dumps({"w": 1}, protocol=2)), "PyTorch"),
        (script, "TorchScript"),
        (bomb, "unpacks to"),
        (truncated, "truncated"),
        (lambda path: truncated(path, legacy=True), "truncated"),
        (numpy_archive, "NumPy"),
        (cut_safetensors, "truncated"),
    ],
)
def test_what_holds_no_weights_is_refused_in_one_line(tmp_path, make, problem):
    path = tmp_path / "w.pth"
    make(path)
    with pytest.raises(ParameterError, match=problem) as caught:
        read_weights(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < 600
    assert caught.value.remedy
