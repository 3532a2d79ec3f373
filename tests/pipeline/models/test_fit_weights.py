import pytest
import timm
import torch
import torchvision.models
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pipeline.errors import ParameterError
from pipeline.models.fit_weights import fit_weights
from pipeline.models.zoo import create_network

TINY = "test_efficientnet"


def network(name=TINY, classes=3, size=32):
    torch.manual_seed(0)
    return create_network(name, classes, size)


@pytest.fixture(scope="module")
def donor():
    torch.manual_seed(1)
    return create_network(TINY, 3, 32)


def fit(tensors, name=TINY, size=32):
    backbone = network(name, size=size)
    return fit_weights(name, backbone, tensors, size)


def prefixed(tensors, prefix):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def check_complete(fitted, state):
    assert {**fitted.body, **fitted.head}.keys() == state.keys()
    for name, tensor in {**fitted.body, **fitted.head}.items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.",
        "net.model.",
        "backbone.",
        "encoder.",
        "student.module.backbone.",
        "teacher.",
        "_fsdp_wrapped_module.model.",
        "any_name_of_mine.",
    ],
)
def test_prefixes_are_taken_off_in_any_order(donor, prefix):
    state = donor.state_dict()
    check_complete(fit(prefixed(state, prefix)), state)


def test_wrappers_inside_a_name_are_taken_off(donor):
    state = donor.state_dict()
    inside = {name.replace("blocks.0.", "blocks.0._orig_mod."): t for name, t in state.items()}
    check_complete(fit(inside), state)


def test_counters_may_be_missing_and_other_tensors_are_named(donor):
    state = donor.state_dict()
    bare = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    fitted = fit({**bare, "aux_head.weight": torch.ones(7, 3)})
    assert "aux_head.weight" in " ".join(fitted.remarks)
    assert fitted.body.keys() | fitted.head.keys() == bare.keys()
    averaged = AveragedModel(donor).state_dict()
    assert "n_averaged" in " ".join(fit(averaged).remarks)


def test_of_student_and_teacher_the_averaged_one_is_taken_and_named(donor):
    state = donor.state_dict()
    other = {name: tensor + 1 for name, tensor in state.items()}
    fitted = fit({**prefixed(other, "student."), **prefixed(state, "teacher.")})
    check_complete(fitted, state)
    assert "teacher" in fitted.remarks[0]
    with pytest.raises(ParameterError, match="encoder_q and encoder_k"):
        fit({**prefixed(other, "encoder_q."), **prefixed(state, "encoder_k.")})
    check_complete(fit({**prefixed(state, "q."), **prefixed(state, "k.")}), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_converted_and_named(donor, dtype):
    state = {n: t.to(dtype) if t.is_floating_point() else t for n, t in donor.state_dict().items()}
    assert str(dtype) in " ".join(fit(state).remarks)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(donor, value):
    state = dict(donor.state_dict())
    state["bn1.bias"] = torch.full_like(state["bn1.bias"], value)
    with pytest.raises(ParameterError, match=r"bn1\.bias.*not finite"):
        fit(state)


@pytest.mark.parametrize("kind", ["sparse", "without values"])
def test_tensors_without_dense_values_are_refused(donor, kind):
    state = dict(donor.state_dict())
    weight = state["classifier.weight"]
    state["classifier.weight"] = weight.to_sparse() if kind == "sparse" else weight.to("meta")
    with pytest.raises(ParameterError, match=rf"classifier\.weight.*{kind}"):
        fit(state)


def test_a_deeper_network_is_refused_although_its_first_layers_fit():
    state = timm.create_model("resnet34", num_classes=3).state_dict()
    with pytest.raises(ParameterError, match=r"100 of 100 tensors fit.*layer1\.2.*fit resnet34"):
        fit(state, "resnet18")


def test_integers_do_not_stand_in_for_weights(donor):
    state = dict(donor.state_dict())
    state["conv_stem.weight"] = state["conv_stem.weight"].to(torch.int8)
    with pytest.raises(ParameterError, match=r"conv_stem\.weight.*int8"):
        fit(state)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("test_vit", "pos_embed"),
        ("deit_tiny_distilled_patch16_224", "pos_embed"),
        pytest.param("torchvision/vit_b_32", "encoder.pos_embedding", marks=pytest.mark.slow),
    ],
)
def test_position_embeddings_are_resized_and_named(name, tensor):
    with torch.random.fork_rng(devices=[]):
        state = create_network(name, 3, 160).state_dict()
    own = network(name, size=64).state_dict()
    assert state[tensor].shape != own[tensor].shape
    fitted = fit(prefixed(state, "module."), name, size=64)
    assert fitted.body[tensor].shape == own[tensor].shape
    assert tensor in " ".join(fitted.remarks)


def test_tables_of_relative_positions_are_resized():
    name = "swin_tiny_patch4_window7_224"
    state = create_network(name, 3, 224).state_dict()
    own = network(name, size=96).state_dict()
    fitted = fit(state, name, size=96)
    assert all(tensor.shape == own[key].shape for key, tensor in fitted.body.items())
    assert "relative_position_bias_table" in " ".join(fitted.remarks)


@pytest.mark.parametrize("name", ["test_vit", "swin_tiny_patch4_window7_224"])
def test_weights_of_squares_are_resized_for_rectangles(name):
    state = create_network(name, 3, 224).state_dict()
    own = network(name, size=(64, 128)).state_dict()
    fitted = fit(state, name, size=(64, 128))
    assert all(tensor.shape == own[key].shape for key, tensor in fitted.body.items())
    assert "resized for this network" in " ".join(fitted.remarks)


def test_the_first_layers_are_reshaped_as_timm_does_and_old_names_are_replaced():
    # The names of the original ConvNeXt checkpoints.
    backbone = network("test_convnext2", size=64)
    state = dict(backbone.state_dict())
    old = {"stem.": "downsample_layers.0."}
    renamed = {}
    for key, tensor in state.items():
        for new, original in old.items():
            key = key.replace(new, original, 1) if key.startswith(new) else key
        key = key.replace(".blocks.", ".").replace("conv_dw", "dwconv")
        key = key.replace("mlp.fc1", "pwconv1").replace("mlp.fc2", "pwconv2")
        for stage in range(1, 4):
            key = key.replace(f"stages.{stage}.downsample", f"downsample_layers.{stage}")
        key = key.replace("head.fc", "head").replace("head.norm", "norm")
        renamed[key] = tensor
    assert renamed.keys() != state.keys()
    fitted = fit(prefixed(renamed, "module.model."), "test_convnext2", size=64)
    assert fitted.body.keys() | fitted.head.keys() == state.keys()


def test_a_head_behind_another_prefix_is_found(donor):
    state = donor.state_dict()
    body = {n: t for n, t in state.items() if not n.startswith("classifier")}
    weight, bias = state["classifier.weight"], state["classifier.bias"]
    for place in ("head.classifier", "fc", "classifier.1"):
        given = {**prefixed(body, "backbone."), f"{place}.weight": weight, f"{place}.bias": bias}
        fitted = fit(given)
        check_complete(fitted, state)
        assert place in " ".join(fitted.remarks)


def test_a_head_of_two_layers_is_not_taken_for_one(donor):
    body = {n: t for n, t in donor.state_dict().items() if not n.startswith("classifier")}
    features = donor.classifier.in_features
    two = nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 3)).state_dict()
    assert not fit({**body, **prefixed(two, "classifier.")}).head


def test_a_head_without_bias_gets_a_zero_bias(donor):
    state = {n: t for n, t in donor.state_dict().items() if n != "classifier.bias"}
    fitted = fit(state)
    assert torch.equal(fitted.head["classifier.bias"], torch.zeros(3))
    assert "bias" in " ".join(fitted.remarks)


def test_both_heads_of_a_distilled_network_are_found_or_none():
    name = "deit_tiny_distilled_patch16_224"
    state = network(name, size=64).state_dict()
    heads = {f"{head}.{kind}" for head in ("head", "head_dist") for kind in ("weight", "bias")}
    assert fit(state, name, 64).head.keys() == heads
    one = {n: t for n, t in state.items() if not n.startswith("head_dist.")}
    assert not fit(one, name, 64).head


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (lambda: timm.create_model("test_resnet"), TINY, "conv_stem.weight"),
        (torchvision.models.efficientnet_b0, "efficientnet_b0", "torchvision/efficientnet_b0"),
        (
            torchvision.models.mobilenet_v3_small,
            "mobilenetv3_small_100",
            "torchvision/mobilenet_v3_small",
        ),
        (lambda: timm.create_model("resnet18"), "resnet34", "fit resnet18"),
        (lambda: timm.create_model("efficientnet_b0"), "torchvision/efficientnet_b0", "0 of 309"),
    ],
)
def test_another_architecture_is_refused_with_what_fits(make, name, expected):
    with pytest.raises(ParameterError, match=expected) as caught:
        fit(prefixed(make().state_dict(), "module."), name)
    text = str(caught.value)
    assert f"weights of {name}" in text
    assert "tensors fit" in text
    assert len(text) < 600


def test_a_file_without_a_tensor_of_the_network_is_refused_with_names_of_both():
    words = [
        r"0 of \d+ tensors fit",
        r"conv_stem\.weight.* more",
        r"the file lstm\.0.*lstm\.2 and 2",
    ]
    with pytest.raises(ParameterError, match=".*".join(words)) as caught:
        fit({f"lstm.{number}": torch.ones(3, 3) for number in range(5)})
    assert "\n" not in str(caught.value)


def test_the_names_of_other_libraries_are_recognised():
    names = ("vit.embeddings.cls_token", "vit.encoder.layer.0.attention.output.dense.weight")
    with pytest.raises(ParameterError, match="transformers"):
        fit({name: torch.ones(2) for name in names})
