"""The networks for 32 px images by which the distillation literature compares methods.

They are those of "Contrastive Representation Distillation" (Tian, Krishnan, Isola, ICLR 2020),
which most later papers on CIFAR-100 take over: the same layers, so the same parameter counts, and
initial weights of the same distributions. All end in a mean over the plane, so that larger images
go through them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from pipeline.models.cifar.mobilenet import mobilenet_v2
from pipeline.models.cifar.network import CifarNetwork
from pipeline.models.cifar.resnet import resnet, resnet50
from pipeline.models.cifar.shufflenet import shufflenet_v1, shufflenet_v2
from pipeline.models.cifar.vgg import vgg
from pipeline.models.cifar.wide_resnet import wide_resnet

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
"""The networks by name; each takes the number of classes."""
