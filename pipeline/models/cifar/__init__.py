"""The networks for 32 x 32 pixel images used in the distillation literature.

As in "Contrastive Representation Distillation" (Tian, Krishnan, Isola, ICLR 2020): same layers,
parameter counts and distributions of initial weights. All use global average pooling, so they
accept larger images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from pipeline.models.cifar.mobile import mobilenet_v2, shufflenet_v1, shufflenet_v2
from pipeline.models.cifar.network import CifarNetwork, vgg
from pipeline.models.cifar.resnet import resnet, resnet50, wide_resnet

NETWORKS: Mapping[str, Callable[[int], CifarNetwork]] = MappingProxyType(
    {
        **{f"cifar_resnet{n}": partial(resnet, n) for n in (8, 14, 20, 32, 44, 56, 110)},
        **{f"cifar_resnet{n}x4": partial(resnet, n, wide=True) for n in (8, 32)},
        "cifar_resnet50": resnet50,
        **{f"cifar_wrn_{n}_{k}": partial(wide_resnet, n, k) for n in (16, 40) for k in (1, 2)},
        **{f"cifar_vgg{n}": partial(vgg, n) for n in (8, 11, 13, 16, 19)},
        "cifar_mobilenet_v2": mobilenet_v2,
        "cifar_shufflenet_v1": shufflenet_v1,
        "cifar_shufflenet_v2": shufflenet_v2,
    }
)
"""Constructors by model name; each takes the number of classes."""
