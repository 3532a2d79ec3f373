"""Matches the tensors of a file to a network: prefixes, old names, and embeddings of another size.

The names of a network differ between the programs that save it: wrappers such as
DistributedDataParallel and the attributes of a LightningModule put a prefix before every name.
"""

from __future__ import annotations

import difflib
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import timm
import torch
import torchvision.models
from finch_runtime.image_size import ImageSize
from timm.layers import resize_rel_pos_bias_table
from torch import Tensor, nn
from torchvision.models.vision_transformer import interpolate_embeddings

from pipeline.errors import ParameterError
from pipeline.models.zoo import TORCHVISION, create_network, full_name, weights_error

Tensors = Mapping[str, Tensor]

# torch.compile, FSDP and activation checkpointing insert these anywhere in a name.
_WRAPPERS = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_PREFIXES = re.compile(r"((module|model|net|network|backbone|encoder|student|teacher)\.)+")
_AVERAGED = re.compile("ema|teacher|averag", re.IGNORECASE)

# Names that are typical of other libraries, for messages.
_LIBRARIES = {
    "torchvision": ("encoder.layers.encoder_layer_", "features.0.0.weight", "conv_proj.weight"),
    "transformers": (".embeddings.", "embeddings.patch_embeddings", ".embedder."),
    "ultralytics": ("model.0.conv.weight",),
    "mmpretrain": ("backbone.layers.0.ln1.weight", "backbone.stem.", "backbone.layer1.0.conv1"),
    "efficientnet_pytorch": ("_conv_stem.weight",),
    "CLIP": ("visual.", "text_model."),
}


@dataclass(frozen=True)
class FittedWeights:
    """Tensors of a file under the names of a network.

    Attributes:
        body: Tensors with the shapes of the network.
        head: Tensors of the classifier layers; the number of rows is that of the file.
        remarks: What was changed or left out, one sentence each.
    """

    body: dict[str, Tensor]
    head: dict[str, Tensor]
    remarks: tuple[str, ...]


def head_names(backbone: nn.Module) -> tuple[str, ...]:
    """Names of the classifier layers; networks with a distillation head have two."""
    names: str | Sequence[str] = vars(backbone)["pretrained_cfg"]["classifier"]
    return (names,) if isinstance(names, str) else tuple(names)


def fit_weights(
    architecture: str, backbone: nn.Module, tensors: Tensors, image_size: ImageSize
) -> FittedWeights:
    """Finds the tensor of a file for every parameter and buffer of a network.

    Args:
        architecture: Name of the network, for messages.
        backbone: Network of ``create_network``; it is not changed.
        tensors: Tensors of the file, by name.
        image_size: Size of the images.

    Raises:
        ParameterError: A tensor of the network is missing or has another shape, two networks in the
            file fit equally well, or a value is not finite.
    """
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_meta:
            kind = "without values" if tensor.is_meta else "sparse"
            problem = f"{name} is a tensor {kind}"
            raise weights_error(architecture, problem, "save it as a dense tensor")
    target = _Target(backbone, image_size)
    unwrapped = {_WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    prefix, remarks = _best_prefix(architecture, unwrapped, target)
    inside = {n.removeprefix(prefix): t for n, t in unwrapped.items() if n.startswith(prefix)}
    outside = {name: t for name, t in unwrapped.items() if not name.startswith(prefix)}
    found = max(_variants(inside, unwrapped, target), key=target.count)
    missing = target.missing(found)
    if missing or target.unknown_layers(found):
        raise _misfit(architecture, target, found, unwrapped, missing)
    remarks += _resized(found, inside)
    body = {name: found[name] for name in target.own if target.fits(name, found)}
    body = {name: tensor for name, tensor in body.items() if not target.is_head(name)}
    left = {name: t for name, t in {**found, **outside}.items() if name not in body}
    head, taken, head_remarks = _find_head(target, found, left)
    if extra := [name for name in left if name not in taken and name not in target.own]:
        remarks.append(f"not in the network, and left out: {_listed(extra)}")
    for name, tensor in {**body, **head}.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            problem, remedy = f"{name} has values that are not finite", "use an intact checkpoint"
            raise weights_error(architecture, problem, remedy)
    halves = {str(t.dtype) for t in body.values() if t.dtype in (torch.float16, torch.bfloat16)}
    remarks += [f"{dtype} is converted to float32" for dtype in sorted(halves)]
    return FittedWeights(body, head, (*remarks, *head_remarks))


class _Target:
    """The names and shapes that a network needs."""

    def __init__(self, backbone: nn.Module, image_size: ImageSize) -> None:
        self.backbone, self.image_size = backbone, image_size
        self.own: dict[str, Tensor] = backbone.state_dict()
        self._same: dict[int, list[str]] = {}  # names of tied weights, of which files may have one
        self._tensor = {n: id(t) for n, t in backbone.state_dict(keep_vars=True).items()}
        for name, tensor in self._tensor.items():
            self._same.setdefault(tensor, []).append(name)
        self.heads = head_names(backbone)
        self.needed = [name for name in self.own if not (self.is_head(name) or self._fixed(name))]

    def is_head(self, name: str) -> bool:
        return name.startswith(tuple(f"{head}." for head in self.heads))

    def _fixed(self, name: str) -> bool:
        """Whether the network computes a buffer itself: counters, index tables and masks."""
        dtype = self.own[name].dtype
        return not (dtype.is_floating_point or dtype.is_complex) or name.endswith("attn_mask")

    def fits(self, name: str, tensors: Tensors) -> bool:
        tensor, own = tensors.get(name), self.own.get(name)
        if tensor is None or own is None or tensor.is_quantized:
            return False
        same_kind = tensor.is_floating_point() == own.is_floating_point()
        return same_kind and tensor.shape == own.shape

    def missing(self, tensors: Tensors) -> list[str]:
        """The needed names for which there is no tensor that fits."""
        return [
            name
            for name in self.needed
            if not any(self.fits(same, tensors) for same in self._same[self._tensor[name]])
        ]

    def count(self, tensors: Tensors) -> int:
        return len(self.needed) - len(self.missing(tensors))

    def unknown_layers(self, tensors: Tensors) -> list[str]:
        """Tensors inside the parts of the network that it does not have: those of a deeper one."""
        parts = {name.partition(".")[0] for name in self.needed if "." in name}
        parts -= {head.partition(".")[0] for head in self.heads}
        return [
            name
            for name, tensor in tensors.items()
            if name not in self.own
            and name.partition(".")[0] in parts
            and tensor.is_floating_point()
            and not name.endswith(("attn_mask", "relative_coords_table"))
        ]


def _best_prefix(architecture: str, tensors: Tensors, target: _Target) -> tuple[str, list[str]]:
    """The prefix without which the most tensors fit, and a remark if there are several.

    Raises:
        ParameterError: Two networks with other weights fit equally well.
    """
    needed, counts = set(target.needed), Counter[str]()
    for name, tensor in tensors.items():
        for end in (0, *(dot.end() for dot in re.finditer(r"\.", name))):
            if name[end:] in needed and target.fits(name[end:], {name[end:]: tensor}):
                counts[name[:end]] += 1
    if not counts:
        return "", []
    best = max(counts.values())
    equal = sorted((p for p, count in counts.items() if count == best), key=len)
    if 2 * best < len(needed) or len(equal) == 1:
        return equal[0], []
    if all(_same(equal[0], other, tensors, needed) for other in equal[1:]):
        return equal[0], []
    averaged = [prefix for prefix in equal if _AVERAGED.search(prefix)]
    listed = " and ".join(prefix.rstrip(".") or "no prefix" for prefix in equal)
    if len(averaged) != 1:
        problem = f"the file holds several networks that fit: {listed}"
        raise weights_error(architecture, problem, "save the tensors of one of them to a file")
    used = averaged[0].rstrip(".")
    return averaged[0], [f"of the networks {listed}, the averaged one is used: {used}"]


def _same(one: str, other: str, tensors: Tensors, names: set[str]) -> bool:
    return all(
        torch.equal(tensors[one + name], tensors[other + name])
        for name in names
        if one + name in tensors and other + name in tensors
    )


def _variants(inside: Tensors, all_tensors: Tensors, target: _Target) -> Iterator[Tensors]:
    """The tensors as they are, then with embeddings resized and old names replaced."""
    yield inside
    if target.count(inside) == len(target.needed):
        return
    bare = {_PREFIXES.sub("", name, count=1): tensor for name, tensor in all_tensors.items()}
    for tensors in (inside, bare):
        for adapt in (_torchvision_embeddings, _timm_filter):
            try:
                with torch.no_grad(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of deprecated calls in the libraries
                    adapted = _resize_tables(adapt(dict(tensors), target), target)
            except Exception:  # such functions expect the names of their own checkpoints
                continue
            yield adapted


def _timm_filter(tensors: dict[str, Tensor], target: _Target) -> Tensors:
    """As timm does for its own checkpoints of the network: renames, and resizes embeddings."""
    module = sys.modules[type(target.backbone).__module__]
    convert: Callable[..., Any] | None = getattr(module, "checkpoint_filter_fn", None)
    return cast(Tensors, convert(tensors, target.backbone)) if convert else tensors


def _torchvision_embeddings(tensors: dict[str, Tensor], target: _Target) -> Tensors:
    patch = getattr(target.backbone, "patch_size", None)
    size = target.image_size
    if "encoder.pos_embedding" not in tensors or not isinstance(patch, int):
        return tensors
    assert isinstance(size, int)  # these networks take square images only
    return cast(Tensors, interpolate_embeddings(size, patch, tensors))


def _resize_tables(tensors: Tensors, target: _Target) -> Tensors:
    """Resizes the tables of relative positions, of square windows."""
    resized = dict(tensors)
    for name, own in target.own.items():
        table = tensors.get(name)
        if table is None or not name.endswith("relative_position_bias_table"):
            continue
        if table.ndim == 2 and table.shape != own.shape and table.shape[1] == own.shape[1]:
            side = (round(len(own) ** 0.5) + 1) // 2
            resized[name] = resize_rel_pos_bias_table(table, (side, side), own.shape)
    return resized


def _resized(found: Tensors, inside: Tensors) -> list[str]:
    changed = [
        f"{name} {list(inside[name].shape)} to {list(tensor.shape)}"
        for name, tensor in found.items()
        if name in inside and inside[name].shape != tensor.shape
    ]
    if not changed:
        return []
    return [f"resized for this network: {_listed(changed)}"]


def _find_head(
    target: _Target, found: Tensors, left: Tensors
) -> tuple[dict[str, Tensor], set[str], list[str]]:
    """The tensors of the classifier layers, their names in the file, and remarks.

    A layer is found by its name, else by its name behind another prefix, else, if the network has
    one classifier layer, as the only layer with as many input features.
    """
    head: dict[str, Tensor] = {}
    taken: set[str] = set()
    remarks = []
    for layer in target.heads:
        own = target.own.get(f"{layer}.weight")
        if own is None:
            continue
        fitting = {
            name: tensor
            for name, tensor in left.items()
            if name.endswith("weight")
            and tensor.shape[1:] == own.shape[1:]
            and tensor.is_floating_point()
        }
        names = [name for name in fitting if name == f"{layer}.weight"]
        names = names or [name for name in fitting if name.endswith(f".{layer}.weight")]
        if not names and len(target.heads) == 1 and own.ndim > 1:
            names = [name for name in fitting if not _has_successor(fitting[name], left)]
        if len(names) != 1:
            return {}, set(), []
        (weight,) = names
        bias = f"{weight.removesuffix('weight')}bias"
        head[f"{layer}.weight"] = fitting[weight]
        taken |= {weight, bias} & left.keys()
        if weight not in found or weight != f"{layer}.weight":
            source = weight.removesuffix(".weight")
            remarks.append(f"the classifier layer {layer} is {source} of the file")
        if f"{layer}.bias" not in target.own:
            taken -= {bias}
        elif bias in left and left[bias].shape == fitting[weight].shape[:1]:
            head[f"{layer}.bias"] = left[bias]
        else:
            head[f"{layer}.bias"] = torch.zeros(len(fitting[weight]))
            remarks.append(f"the file has no bias of {layer}; it is set to 0")
    return head, taken, remarks


def _has_successor(weight: Tensor, others: Tensors) -> bool:
    """Whether another layer has this layer's outputs as inputs, as in a head of two layers."""
    return any(other.ndim > 1 and other.shape[1] == len(weight) for other in others.values())


def _without_sizes(name: str) -> str:
    return re.sub(r"\d+", "", name)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _misfit(
    architecture: str, target: _Target, found: Tensors, tensors: Tensors, missing: list[str]
) -> ParameterError:
    """The error for weights of another network."""
    fitting = len(target.needed) - len(missing)
    problem = f"{fitting} of {len(target.needed)} tensors fit the network; "
    if not fitting and not found.keys() & set(target.needed):
        problem += f"it has {_listed(missing)}, and the file {_listed(list(tensors))}"
    elif not missing:
        unknown = target.unknown_layers(found)
        problem += f"the file has {len(unknown)} more of its layers: {_listed(unknown)}"
    elif (there := found.get(name := missing[0])) is None:
        problem += f"the first that does not is {name}, which is missing in the file"
    else:
        shapes = f"{_describe(there)} in the file and {_describe(target.own[name])} in the network"
        problem += f"the first that does not is {name}, which has {shapes}"
    is_other = len(missing) > 2 or not missing
    if is_other and (other := _fitting_network(architecture, tensors, target.image_size)):
        return weights_error(architecture, problem, f"the weights fit {other}; set `model` to it")
    for library, marks in _LIBRARIES.items():
        if any(mark in tensor for tensor in tensors for mark in marks):
            problem += f"; its names look like those of {library}"
            remedy = "use weights that timm or torchvision saved for this network"
            return weights_error(architecture, problem, remedy)
    return weights_error(architecture, problem, "set `model` to the network of the weights")


def _describe(tensor: Tensor) -> str:
    return f"shape {list(tensor.shape)} ({str(tensor.dtype).removeprefix('torch.')})"


def _fitting_network(architecture: str, tensors: Tensors, image_size: ImageSize) -> str | None:
    """Another network that all tensors fit, of the same or a similar name, if there is one."""
    base = architecture.removeprefix(TORCHVISION).partition(".")[0]
    family = [name for name in timm.list_models() if _without_sizes(name) == _without_sizes(base)]
    near = difflib.get_close_matches(base, family, n=8, cutoff=0.0)
    near += difflib.get_close_matches(base, timm.list_models(), n=8, cutoff=0.6)
    theirs = torchvision.models.list_models(module=torchvision.models)
    near += [TORCHVISION + n for n in difflib.get_close_matches(base, theirs, n=4, cutoff=0.6)]
    for name in list(dict.fromkeys((TORCHVISION + base, base, *near)))[:16]:
        try:
            known = full_name(name)
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                other = _Target(create_network(known, 2, image_size), image_size)
            prefix, _ = _best_prefix(known, tensors, other)
        except Exception:  # not every name exists, or supports the image size or the meta device
            continue
        inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        complete = other.count(inside) == len(other.needed) and not other.unknown_layers(inside)
        if complete and known != architecture:
            return known
    return None
