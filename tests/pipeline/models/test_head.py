import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import ParameterError
from pipeline.models.classifier import Classifier, Spec, build_classifier, save_classifier
from pipeline.models.head import head_weights, read_head_weights

CLASSES = ("ant", "bee", "wasp")


def test_the_weights_are_those_that_make_the_logits(tmp_path):
    torch.manual_seed(0)
    model = build_classifier("test_efficientnet", CLASSES, 32).eval()
    save_classifier(tmp_path / "teacher", model, {})
    weights = read_head_weights(tmp_path / "teacher")
    assert weights.dtype == np.float32
    assert len(weights) == len(CLASSES)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        backbone, normalised = model.backbone, (images - model.mean) / model.std
        features = backbone.forward_head(backbone.forward_features(normalised), pre_logits=True)
        expected = model(images) - backbone.get_classifier().bias
    np.testing.assert_allclose(features.numpy() @ weights.T, expected.numpy(), atol=1e-5)


class Backbone(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def get_classifier(self):
        return self.layer


@pytest.mark.parametrize(
    ("backbone", "found"),
    [
        (Backbone(nn.Identity()), "Identity"),
        (Backbone(nn.Conv2d(4, 3, 1)), "Conv2d"),
        (Backbone((nn.Linear(4, 3), nn.Linear(4, 3))), "tuple"),
        (nn.Flatten(), "NoneType"),
    ],
    ids=["none", "convolution", "two layers", "no timm model"],
)
def test_a_network_without_a_linear_layer_at_its_end_is_refused(backbone, found):
    model = Classifier(backbone, Spec("odd", CLASSES, 32, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(ParameterError, match=f"'odd'.*no linear classifier layer.*{found}.*logits"):
        head_weights(model)
