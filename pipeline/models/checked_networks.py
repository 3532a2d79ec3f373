"""Checks the networks of the parameters once, and remembers those that passed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.code_fingerprint import code_fingerprint
from pipeline.errors import ArtifactError
from pipeline.file_fingerprint import FileHashes
from pipeline.files import hash_value, read_json, write_json
from pipeline.models.weights_files import weights_files
from pipeline.params import Network

_REMEMBERED = 100


def check_networks(
    networks: Mapping[str, tuple[Network, int]], image_size: int, folder: Path
) -> list[str]:
    """Checks networks as ``check_network``, except those that passed before.

    A network is checked again after a change of its parameters, its weights, the size of the
    images, the code of ``pipeline.models``, or the version of torch, torchvision or timm.

    Args:
        networks: Networks and batch sizes by the section of their parameters.
        image_size: Height and width of the images, in pixels.
        folder: Where the networks that passed are remembered.

    Returns:
        The sections that were checked.

    Raises:
        ParameterError: A network does not work with these parameters.
    """
    store = folder / "passed.json"
    passed = _read(store)
    with FileHashes(folder / "weights.json") as hashes:
        keys = {
            section: _key(network, image_size, batch_size, hashes)
            for section, (network, batch_size) in networks.items()
        }
    new = {section: key for section, key in keys.items() if key not in passed}
    for section, key in new.items():
        # Imported here, since timm and torchvision take seconds.
        from pipeline.models.network_check import check_network

        network, batch_size = networks[section]
        check_network(section, network, image_size, batch_size)
        passed.append(key)
        write_json(store, {"passed": passed[-_REMEMBERED:]})
    return list(new)


def _key(network: Network, image_size: int, batch_size: int, hashes: FileHashes) -> str:
    facts: dict[str, Any] = {
        "model": network.model,
        "pretrained": network.pretrained,
        "weights": hashes.fingerprint(weights_files(network)).sha256,
        "image_size": image_size,
        "single_images": batch_size == 1,
        "code": code_fingerprint("pipeline.models.network_check"),
        "versions": [metadata.version(name) for name in ("torch", "torchvision", "timm")],
    }
    return hash_value(facts)


def _read(store: Path) -> list[str]:
    with suppress(ArtifactError):
        passed = read_json(store).get("passed")
        if isinstance(passed, list):
            return passed
    return []
