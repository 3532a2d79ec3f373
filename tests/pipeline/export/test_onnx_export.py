from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from timm.models.nest import Nest

from pipeline.errors import ExportError
from pipeline.export.onnx_export import export_onnx
from pipeline.export.parity import check_parity
from pipeline.models.classifier import Spec

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SIZE = 24
SPEC = Spec("tiny", tuple("abcde"), SIZE, MEAN, STD)

Images = NDArray[np.uint8]


def tiny_model(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU6(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(8, 5),
    )
    model(torch.randn(64, 3, SIZE, SIZE) * 2)  # updates the statistics of the batch norm
    return model.eval()


def torch_logits(model: torch.nn.Module, images: Images) -> NDArray[np.float64]:
    pixels = (images / 255 - np.array(MEAN)) / np.array(STD)
    planes = np.stack([pixels[..., channel] for channel in range(3)], axis=1)
    with torch.no_grad():
        model = copy.deepcopy(model).double().eval()
        logits: NDArray[np.float64] = model(torch.from_numpy(planes)).numpy()
    return logits


def run(path: Path, images: Images) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs: list[NDArray[np.float32]] = session.run(
        ["logits", "probabilities"], {"images": images}
    )
    return outputs


def declared(path: Path) -> tuple[int, dict[str, int]]:
    """IR version and operator sets of a file."""
    file = onnx.load(path)
    return file.ir_version, {opset.domain: opset.version for opset in file.opset_import}


@pytest.fixture(scope="module")
def images() -> Images:
    return np.random.default_rng(0).integers(0, 256, (14, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return tiny_model(0)


@pytest.fixture(scope="module")
def dynamic(model: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "dynamic.onnx"
    export_onnx(model, SPEC, path, batch="dynamic", opset=18)
    return path


@pytest.fixture(scope="module")
def fixed(model: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "fixed.onnx"
    export_onnx(model, SPEC, path, batch=1, opset=18)
    return path


def test_attention_within_windows_is_exported(images: Images, tmp_path: Path) -> None:
    """Its tensors have a dimension for the window, besides those of attention in general."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"embed_dims": (8, 8), "num_heads": (2, 2), "depths": (1, 1)}
    model = Nest(img_size=SIZE, num_levels=2, num_classes=5, **sizes).eval()
    path = tmp_path / "windows.onnx"
    export_onnx(model, SPEC, path, batch="dynamic", opset=18)
    for batch in (1, 7):
        logits, _ = run(path, images[:batch])
        np.testing.assert_allclose(logits, torch_logits(model, images[:batch]), atol=1e-5)
    assert model.levels[0].transformer_encoder[0].attn.fused_attn  # the model is not changed


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_file_and_model_agree(
    model: torch.nn.Module, dynamic: Path, images: Images, batch: int
) -> None:
    logits, probabilities = run(dynamic, images[:batch])
    expected = torch_logits(model, images[:batch])
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    odds = np.exp(expected)
    np.testing.assert_allclose(
        probabilities, odds / odds.sum(axis=1, keepdims=True), rtol=0, atol=1e-5
    )
    assert logits.dtype == probabilities.dtype == np.float32


def test_the_graph_has_no_superfluous_operators(dynamic: Path) -> None:
    kinds = [node.op_type for node in onnx.load(dynamic).graph.node]
    assert len(kinds) <= 11
    assert not {"BatchNormalization", "Dropout", "Gather", "Shape"} & set(kinds)


def test_newest_opset(model: torch.nn.Module, images: Images, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(model, SPEC, path, batch="dynamic", opset=23)
    assert declared(path) == (11, {"": 23})
    np.testing.assert_allclose(run(path, images)[0], torch_logits(model, images), atol=1e-5)


def test_old_runtimes_open_the_files_because_of_their_low_ir_version(
    dynamic: Path, fixed: Path
) -> None:
    assert declared(dynamic) == declared(fixed) == (8, {"": 18})


def test_a_fixed_batch_has_one_image(model: torch.nn.Module, fixed: Path, images: Images) -> None:
    session = onnxruntime.InferenceSession(fixed, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, SIZE, SIZE, 3]
    assert [o.shape for o in session.get_outputs()] == [[1, 5], [1, 5]]
    logits = np.concatenate([run(fixed, images[i : i + 1])[0] for i in range(len(images))])
    np.testing.assert_allclose(logits, torch_logits(model, images), rtol=0, atol=1e-5)


def test_the_file_is_reproducible_and_nothing_else_is_written(
    model: torch.nn.Module, dynamic: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export_onnx(model, SPEC, tmp_path / "again.onnx", batch="dynamic", opset=18)
    assert (tmp_path / "again.onnx").read_bytes() == dynamic.read_bytes()
    assert b".py" not in dynamic.read_bytes()  # no path of this machine
    assert list(tmp_path.iterdir()) == [tmp_path / "again.onnx"]
    assert capfd.readouterr() == ("", "")


class Constant(torch.nn.Module):
    """A model that does not classify: its logits are ``scale`` times the classes, plus ``shift``.

    ``pixels`` is the share of the image in the logits.
    """

    def __init__(self, scale: float, shift: float = 0.0, pixels: float = 0.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(5.0) * scale + shift)
        self.pixels = pixels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.weight + self.pixels * images.mean(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (Constant(0.0), "same for all images"),  # an untrained network with a zero head
        (Constant(1.0), "same for all images"),
        (Constant(1.0, pixels=1e-6), "same for all images"),
        (Constant(0.0, pixels=1.0), "same for all classes"),
        (Constant(1.0, shift=np.nan), "NaN or infinite"),
        (Constant(1.0, shift=np.inf), "NaN or infinite"),
    ],
)
def test_logits_that_do_not_vary_are_no_proof(
    model: Constant, problem: str, images: Images, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(model, SPEC, path, batch="dynamic", opset=18)
    with pytest.raises(ExportError, match=rf"model\.onnx: .*{problem}.*; train"):
        check_parity(model, SPEC, path, images, tolerance=1e-4)


def test_an_image_with_logits_of_zero_is_compared_as_well(images: Images, tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIZE * SIZE, 5, bias=False))
    spec = Spec("linear", SPEC.classes, SIZE, (0.0,) * 3, (1.0,) * 3)
    path = tmp_path / "model.onnx"
    export_onnx(model, spec, path, batch="dynamic", opset=18)
    black = np.concatenate([np.zeros_like(images[:1]), images])
    parity = check_parity(model, spec, path, black, tolerance=1e-4)
    assert parity.worst.relative < 1e-5
    assert parity.variation > 0.1


def test_the_model_is_not_changed(tmp_path: Path, images: Images) -> None:
    model = tiny_model(1).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = tmp_path / "model.onnx"
    export_onnx(model, SPEC, path, batch=1, opset=18)
    check_parity(model, SPEC, path, images, tolerance=1e-4)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_parity_is_reported_for_every_batch_size(
    model: torch.nn.Module, dynamic: Path, fixed: Path, images: Images
) -> None:
    parity = check_parity(model, SPEC, dynamic, images, tolerance=1e-4)
    assert parity.images == len(images)
    assert [d.batch for d in parity.differences] == [1, 2, 7]
    assert all(d.agreement == 1 for d in parity.differences)
    assert 0 < parity.worst.relative < 1e-4
    at_one = check_parity(model, SPEC, fixed, images, tolerance=1e-4)
    assert [d.batch for d in at_one.differences] == [1]


def test_other_weights_are_detected_and_the_message_has_the_difference(
    model: torch.nn.Module, dynamic: Path, images: Images
) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[-1].bias += torch.tensor([0.01, 0, 0, 0, 0])  # type: ignore[index]
    with pytest.raises(ExportError) as caught:
        check_parity(other, SPEC, dynamic, images, tolerance=1e-4)
    message = str(caught.value)
    found = re.search(r"batch (\d+) .*?(\S+) of the largest logit \((\S+) absolute", message)
    assert found is not None, message
    ours, theirs = torch_logits(model, images), torch_logits(other, images)
    relative = (np.abs(ours - theirs) / np.abs(theirs).max(axis=1, keepdims=True)).max()
    assert found[1] == "1"
    assert float(found[2]) == pytest.approx(relative, rel=0.05)
    assert float(found[3]) == pytest.approx(0.01, rel=0.05)
    assert "1e-04" in message or "0.0001" in message


def test_nan_outputs_are_an_error(
    model: torch.nn.Module, dynamic: Path, images: Images, tmp_path: Path
) -> None:
    file = onnx.load(dynamic)
    bias = next(i for i in file.graph.initializer if list(i.dims) == [5])
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(5, np.nan, np.float32), bias.name))
    onnx.save(file, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="nan"):
        check_parity(model, SPEC, tmp_path / "model.onnx", images, tolerance=1e-4)


def _rename_output(file: onnx.ModelProto) -> None:
    for node in file.graph.node:
        for names in (node.input, node.output):
            names[:] = ["scores" if name == "logits" else name for name in names]
    file.graph.output[0].name = "scores"


def _float_input(file: onnx.ModelProto) -> None:
    for node in file.graph.node:
        node.input[:] = ["bytes" if name == "images" else name for name in node.input]
    cast = onnx.helper.make_node("Cast", ["images"], ["bytes"], to=onnx.TensorProto.UINT8)
    file.graph.node.insert(0, cast)
    file.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def _swap_outputs(file: onnx.ModelProto) -> None:
    outputs = [copy.deepcopy(o) for o in file.graph.output]
    for place, output in zip(file.graph.output, reversed(outputs), strict=True):
        place.CopyFrom(output)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_rename_output, r"output is scores .*logits tensor\(float\) \['batch', 5\]"),
        (_float_input, r"input is images tensor\(float\) .*images tensor\(uint8\)"),
        (_swap_outputs, r"output is probabilities .*logits"),
    ],
)
def test_a_wrong_input_or_output_is_named(
    model: torch.nn.Module,
    dynamic: Path,
    images: Images,
    tmp_path: Path,
    change: Any,
    expected: str,
) -> None:
    file = onnx.load(dynamic)
    change(file)
    onnx.save(file, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match=expected):
        check_parity(model, SPEC, tmp_path / "model.onnx", images, tolerance=1e-4)


def test_images_of_another_size_are_named(model: torch.nn.Module, dynamic: Path) -> None:
    larger = np.zeros((7, 32, 32, 3), np.uint8)
    with pytest.raises(ExportError, match=r"24, 24, 3\].*32, 32, 3\]"):
        check_parity(model, SPEC, dynamic, larger, tolerance=1e-4)


def test_too_few_images_for_the_largest_batch(
    model: torch.nn.Module, dynamic: Path, images: Images
) -> None:
    with pytest.raises(ExportError, match=r"batch 7 .*6 images"):
        check_parity(model, SPEC, dynamic, images[:6], tolerance=1e-4)


class DataDependent(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) if images.mean() > 0 else -images.flatten(1)


def test_a_model_that_onnx_cannot_express_is_a_one_line_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ExportError, match="data-dependent") as caught:
        export_onnx(DataDependent(), SPEC, path, batch="dynamic", opset=18)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert [(p, p.read_bytes()) for p in tmp_path.iterdir()] == [(path, b"old")]
