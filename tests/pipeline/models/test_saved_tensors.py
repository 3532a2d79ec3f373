import pytest
import torch
from safetensors.torch import load_file, save_file, save_model

from pipeline.errors import ArtifactError
from pipeline.models.classifier import build_classifier, load_classifier, save_classifier
from pipeline.models.pretrained import init_classifier
from pipeline.models.saved_tensors import to_saved
from pipeline.params import Network

CPU = torch.device("cpu")
TIED = "coat_lite_tiny"  # position encodings are shared between blocks


def test_shared_and_partial_tensors_are_saved_under_every_name(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "whole": base,
        "same": base,
        "rows": base[1:],
        "columns": base[:, :2],
        "transposed": base.T,
        "expanded": torch.ones(1).expand(5),
        "empty": torch.empty(0),
        "nothing": torch.empty(0),
        "scalar": torch.tensor(3),
    }
    save_file(to_saved(tensors), tmp_path / "t.safetensors")
    loaded = load_file(tmp_path / "t.safetensors")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_tensors_with_their_own_memory_are_not_copied():
    tensor = torch.ones(3)
    assert to_saved({"a": tensor})["a"].data_ptr() == tensor.data_ptr()


@pytest.fixture(scope="module")
def tied():
    torch.manual_seed(0)
    model = build_classifier(TIED, ("a", "b"), 64).eval()
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    assert any(len(same) > 1 for same in names.values())
    return model


def test_a_network_with_tied_weights_is_saved_and_loaded(tmp_path, tied):
    save_classifier(tmp_path / "m", tied, {})
    loaded, _ = load_classifier(tmp_path / "m", CPU)
    assert len(list(loaded.parameters())) == len(list(tied.parameters()))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), tied(images))


def test_weights_that_were_saved_under_one_of_their_names_are_loaded(tmp_path, tied):
    path = tmp_path / "w.safetensors"
    save_model(tied.backbone, str(path))
    assert len(load_file(path)) < len(tied.backbone.state_dict())
    network = Network(model=TIED, pretrained="file", weights=str(path), head="keep")
    loaded = init_classifier(network, ("a", "b"), 64).model.eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), tied(images))


def test_a_damaged_file_of_many_tensors_has_a_short_message(tmp_path, tied):
    save_classifier(tmp_path / "m", tied, {})
    loaded = load_file(tmp_path / "m/model.safetensors")
    other = {f"x.{name}": tensor for name, tensor in loaded.items()}
    save_file(other, tmp_path / "m/model.safetensors")
    with pytest.raises(ArtifactError) as caught:
        load_classifier(tmp_path / "m", CPU)
    assert len(str(caught.value)) < 400
