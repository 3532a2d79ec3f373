"""Checks the networks of the parameters once, and remembers those that passed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.code_fingerprint import code_fingerprint
from pipeline.errors import ArtifactError
from pipeline.file_fingerprint import FileHashes
from pipeline.files import hash_value, read_json, write_json
from pipeline.models.weights_files import weights_files
from pipeline.params import Distill, Finetune

_REMEMBERED = 100


def check_networks(
    networks: Iterable[tuple[str, Finetune | Distill]],
    packed_size: int,
    folder: Path,
    *,
    channels: int = 3,
    aspect_ratio: float = 1.0,
) -> list[str]:
    """Checks networks as ``check_network``, except those that passed before.

    A network is checked again after a change of its parameters, its weights, the size of the
    images, the code of ``pipeline.models``, or the version of torch, torchvision or timm.

    Args:
        networks: Where the parameters are, such as ``distill``, and the networks with their
            training recipes.
        packed_size: Height of the images of a network without ``image_size``, in pixels.
        folder: Where the networks that passed are remembered.
        channels: 3 for RGB images, 1 for gray ones.
        aspect_ratio: Width of the images divided by their height.

    Returns:
        Where the parameters of the networks are that were checked.

    Raises:
        ParameterError: A network does not work with these parameters.
    """
    store = folder / "passed.json"
    passed, checked = _read(store), []
    common = {
        "code": code_fingerprint("pipeline.models.network_check"),
        "channels": channels,
        "aspect_ratio": aspect_ratio,
        "versions": [metadata.version(name) for name in ("torch", "torchvision", "timm")],
    }
    with FileHashes(folder / "weights.json") as hashes:
        keyed = [
            (section, network, hash_value({**common, **_key(network, packed_size, hashes)}))
            for section, network in networks
        ]
    for section, network, key in keyed:
        if key in passed:
            continue
        # Imported here, since timm and torchvision take seconds.
        from pipeline.models.network_check import check_network

        size = network.image_size or packed_size
        single = _trains_on_single_images(network)
        check_network(
            section,
            network,
            size,
            channels=channels,
            aspect_ratio=aspect_ratio,
            single_images=single,
        )
        passed.append(key)
        checked.append(section)
        write_json(store, {"passed": passed[-_REMEMBERED:]})
    return checked


def _trains_on_single_images(network: Finetune | Distill) -> bool:
    """Whether a forward pass of the training has one image, in one process."""
    is_frozen = network.pretrained != "none" and network.freeze_epochs >= network.epochs
    return network.epochs > 0 and not is_frozen and network.batch_size // network.accumulate < 2


def _key(network: Finetune | Distill, packed_size: int, hashes: FileHashes) -> dict[str, Any]:
    return {
        "image_size": network.image_size or packed_size,
        "model": network.model,
        "pretrained": network.pretrained,
        "weights": hashes.fingerprint(weights_files(network)).sha256,
        "single_images": _trains_on_single_images(network),
    }


def _read(store: Path) -> list[str]:
    with suppress(ArtifactError):
        passed = read_json(store).get("passed")
        if isinstance(passed, list):
            return passed
    return []
