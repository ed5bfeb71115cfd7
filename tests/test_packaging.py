"""What is built, and what is declared about it."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import trove_classifiers
from packaging.requirements import Requirement

import ai_gateway

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built with the backend that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_wheel__holds_the_app_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    version = ai_gateway.__version__
    folders = {name.split("/")[0] for name in wheel.namelist()}
    assert folders == {"ai_gateway", f"django_ai_gateway-{version}.dist-info"}


def test_wheel__holds_every_file_of_the_app(wheel: zipfile.ZipFile) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "ai_gateway").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= set(wheel.namelist())
    assert "ai_gateway/py.typed" in ours


def test_wheel__carries_the_licence_and_the_version(wheel: zipfile.ZipFile) -> None:
    folder = f"django_ai_gateway-{ai_gateway.__version__}.dist-info"
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert f"Version: {ai_gateway.__version__}\n" in metadata
    assert "License-Expression: MIT\n" in metadata
    assert wheel.read(f"{folder}/licenses/LICENSE").startswith(b"MIT License")


def test_wheel__runs_nothing_by_being_installed(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert not [name for name in names if name.endswith((".pth", "entry_points.txt")) or ".data/" in name]
    assert not [name for name in names if "/tests/" in name]


def test_sdist__holds_what_builds_and_tests_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "manage.py", "PKG-INFO"} <= names
    assert {"ai_gateway/py.typed", "tests/settings.py", "docs/README.md", "example_project/settings.py"} <= names
    assert {".ci/run", ".readthedocs.yaml"} <= names  # Which tests and pages read, or speak of.
    assert not [name for name in names if name.endswith((".sqlite3", ".pyc", "_key"))]


def test_core__brings_the_packages_that_the_page_on_releasing_names() -> None:
    found, wanted = set(), ["django-ai-gateway"]
    while wanted:
        for text in importlib.metadata.requires(wanted.pop()) or []:
            requirement = Requirement(text)
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            is_wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if is_wanted and name not in found:
                found.add(name)
                wanted.append(name)
    page = (ROOT / "docs" / "releasing.md").read_text(encoding="utf-8")
    table = page[page.index("| Package |") : page.index("The wheel holds")]
    named = set(
        re.findall(r"\b[a-z][a-z0-9_]+\b", " ".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    assert {name.replace("-", "_") for name in found} <= named
    assert len(found) <= 16


def test_app__is_importable_without_settings() -> None:
    """What a settings module imports must not ask for settings."""
    code = "import ai_gateway, ai_gateway.environment, ai_gateway.cors; print(ai_gateway.environment.from_environ({}))"
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "{}\n", done.stderr


def test_metadata__says_what_it_is_and_for_what() -> None:
    assert {"description", "readme", "license", "license-files", "authors", "keywords"} <= set(PROJECT)
    assert not [line for line in PROJECT["classifiers"] if line not in trove_classifiers.classifiers]
    assert not [line for line in PROJECT["classifiers"] if line.startswith("License ::")]  # The expression says it.


def test_python__classifiers_and_floor_agree() -> None:
    assert PROJECT["requires-python"] == ">=3.11"
    assert "Programming Language :: Python :: 3.11" in PROJECT["classifiers"]
    assert "Programming Language :: Python :: 3.10" not in PROJECT["classifiers"]


def test_dev_extra__installs_every_other_extra() -> None:
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    named = extras["dev"][0].removeprefix("django-ai-gateway[").removesuffix("]").split(",")
    # Some are for those who want to look, and the driver of MySQL has to be compiled.
    assert set(named) == set(extras) - {"dev", "mysql", "browser", "docs"}


@pytest.mark.parametrize("dependency", PROJECT["dependencies"])
def test_dependencies__are_met_here(dependency: str) -> None:
    """The suite runs with versions that the package asks for, so it can say something about them."""
    requirement = Requirement(dependency)
    assert requirement.specifier.contains(importlib.metadata.version(requirement.name))
