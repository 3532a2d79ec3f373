"""Networks and weights for images with one channel."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from finch_runtime.image_size import ImageSize, height_and_width
from torch import Tensor, nn

from pipeline.errors import ParameterError, one_line

_TOLERANCE = 1e-3
"""Of a logit, relative to the largest one: the order of additions is another."""


def take_gray(network: nn.Module, name: str, image_size: ImageSize) -> None:
    """Converts a network of RGB images to one of gray images, in place.

    The convolutions that see the image get one input channel, whose weights are the sum over the
    three channels, as with timm's ``in_chans=1``. The logits are those for an image with three
    equal channels.

    Args:
        network: On the CPU. Takes float32 [n, 3, height, width]; afterwards, one channel.
        name: Name of the network, for error messages.
        image_size: Size of the images.

    Raises:
        ParameterError: No convolution sees the image, or other layers see it too.
    """
    shape = height_and_width(image_size)
    gray = torch.linspace(-1, 1, math.prod(shape)).view(1, 1, *shape)
    image = gray.repeat(1, 3, 1, 1)
    found: list[nn.Conv2d] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d) and inputs[0] is image and module.groups == 1:
            found.append(module)

    hooks = [module.register_forward_pre_hook(note) for module in network.modules()]
    was_training = network.training
    try:
        with torch.no_grad():
            expected = network.eval()(image)
            for convolution in dict.fromkeys(found):
                convolution.weight = nn.Parameter(convolution.weight.sum(1, keepdim=True))
                convolution.in_channels = 1
            logits = network(gray)
    except Exception as error:  # networks raise any type
        raise _cannot(name, one_line(error)) from error
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    if not (logits - expected).abs().max() <= _TOLERANCE * expected.abs().max():
        raise _cannot(name, "its logits change with the first convolution")


def to_color_weights(
    tensors: Mapping[str, Tensor], network: nn.Module
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Spreads the weights of a network of gray images over three channels.

    The network then sees the mean of the channels. Names may have prefixes.

    Args:
        tensors: The weights, by name.
        network: The network of RGB images that they are for.

    Returns:
        All weights, and the names of those that were spread.
    """
    shapes = {n: t.shape for n, t in network.state_dict().items() if t.ndim == 4}
    color = {f".{n}": (s[0], 1, *s[2:]) for n, s in shapes.items() if s[1] == 3}
    spread = tuple(
        name
        for name, tensor in tensors.items()
        if any(f".{name}".endswith(own) and tensor.shape == color[own] for own in color)
    )
    changed = {name: tensors[name].repeat(1, 3, 1, 1) / 3 for name in spread}
    return {**tensors, **changed}, spread


def _cannot(name: str, reason: str) -> ParameterError:
    problem = f"cannot take images of one channel ({reason})"
    remedy = "choose another model, or set prepare.channels to 3"
    return ParameterError(f"model {name!r}", problem, remedy)
