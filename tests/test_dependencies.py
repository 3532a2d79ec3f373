"""docs/dependencies.md against pyproject.toml, the lock file and the packages' own metadata."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

import pytest
from finch_runtime.runtimes import RUNTIMES
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs/dependencies.md").read_text("utf-8")
ROWS = re.findall(r"^\| (\S+) \| (\S*) ?\| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)[1:]
LOCK = (PROJECT / "requirements.lock").read_text("utf-8")
# A license that obliges whoever redistributes the package, beyond naming its authors.
NOTABLE = re.compile(r"GPL|EUPL|MPL|EPL|CC-BY|proprietary|UNKNOWN", re.IGNORECASE)


def direct() -> set[tuple[str, str]]:
    """Package and extra of every direct dependency."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        (canonicalize_name(Requirement(text).name), extra)
        for extra, texts in groups.items()
        for text in texts
    }


def installed(name: str) -> PackageMetadata:
    try:
        return metadata(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed")


def stated_license(name: str) -> str:
    """All that the metadata say, without whole license texts."""
    found = installed(name)
    classifiers = [c for c in found.get_all("Classifier") or [] if c.startswith("License")]
    return " ".join(
        [found.get("License-Expression") or "", (found.get("License") or "")[:80], *classifiers]
    )


def test_the_table_has_exactly_the_direct_dependencies() -> None:
    assert {(name, extra) for name, extra, _, _ in ROWS} == direct()
    assert len(ROWS) == len(direct()), "a package is listed twice"


@pytest.mark.parametrize(("name", "license"), [(row[0], row[2]) for row in ROWS])
def test_a_license_expression_is_the_one_in_the_metadata(name: str, license: str) -> None:
    stated = installed(name).get("License-Expression")
    assert stated in (None, license)


@pytest.mark.parametrize("name", re.findall(r"^([\w.-]+)==", LOCK, re.MULTILINE))
def test_a_notable_license_of_an_installed_package_is_explained(name: str) -> None:
    stated = stated_license(name).strip()
    if NOTABLE.search(stated) or not stated:
        notes = PAGE.partition("## Licenses to know about")[2]
        assert f"`{name}`" in notes, f"{name} has the license {stated or 'unstated'}"


def test_a_bundle_installs_only_packages_with_permissive_licenses() -> None:
    for name in ("numpy", "pillow", *RUNTIMES):
        assert not NOTABLE.search(stated_license(name)), name
