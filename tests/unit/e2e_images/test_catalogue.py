"""What goes into the images: the Dockerfiles, the base, and no library too few or too many."""

from __future__ import annotations

import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from e2e.cluster.images import REPOSITORY
from e2e.cluster.images.base import base_key, mmdebstrap_command
from e2e.cluster.images.catalogue import CATALOGUE, NOT_COMPILED, OWN, ProgramImage, repository, tag
from e2e.cluster.images.wheels import locked_requirements

DOCKERFILES = sorted((REPOSITORY / "images").glob("*/Dockerfile"))


def test_every_image_has_a_dockerfile_and_every_dockerfile_an_image():
    assert {path.parent.name for path in DOCKERFILES} == {*CATALOGUE, "base"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_a_dockerfile_names_no_registry(path):
    bases = re.findall(r"^FROM (\S+)", path.read_text(), flags=re.MULTILINE)
    assert set(bases) <= {"scratch", "${BASE}", "libraries"}


@pytest.mark.parametrize("name", OWN)
def test_our_own_images_run_as_nobody_in_particular(name):
    text = (REPOSITORY / "images" / name / "Dockerfile").read_text()
    assert "\nUSER 65532:65532\n" in text


@pytest.mark.parametrize(
    "image", [i for i in CATALOGUE.values() if isinstance(i, ProgramImage)], ids=lambda i: i.name
)
def test_a_program_image_copies_its_program(image):
    text = (REPOSITORY / "images" / image.name / "Dockerfile").read_text()
    assert f"COPY {image.program} /usr/local/bin/" in text


def test_names_of_images():
    assert tag("serve") == "localhost/modelhandoff/serve:dev"
    assert repository("envoy-gateway") == "localhost/envoy-gateway"
    assert set(NOT_COMPILED) == {"operator", "serve", "verify", "envoy", "registry"}


def test_the_base_is_the_same_whatever_mirror_it_comes_from():
    plain = mmdebstrap_command(Path("base.tar"), None)
    mirrored = mmdebstrap_command(Path("base.tar"), "file:/mirror")
    assert mirrored == [*plain, "file:/mirror"]
    assert len(base_key()) == 12


def libraries_reached(rooms: tuple[str, ...], elsewhere: tuple[str, ...]) -> set[str]:
    """Third-party packages that the rooms import, directly or through other modules of ours."""
    graph = grimp.build_graph("modelhandoff", include_external_packages=True)
    for module in elsewhere:
        graph.remove_module(module)
    ours = {m for m in graph.modules if any(m == r or m.startswith(f"{r}.") for r in rooms)}
    reached = set(ours)
    for module in ours:
        reached |= graph.find_upstream_modules(module)
    # Importing a module imports the packages it lies in.
    parents = {m.rpartition(".")[0] for m in reached if m.startswith("modelhandoff.")}
    for module in parents:
        reached |= graph.find_upstream_modules(module)
    outside = {m.partition(".")[0] for m in reached} - {"modelhandoff"}
    return outside - set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", OWN)
def test_an_image_has_every_library_that_its_rooms_import(name):
    image = CATALOGUE[name]
    lines = locked_requirements(REPOSITORY, image).splitlines()
    installed = {
        canonicalize_name(Requirement(line.rstrip("\\ ")).name)
        for line in lines
        if not line.startswith(" ")
    }
    owners = packages_distributions()
    missing = {
        library
        for library in libraries_reached(image.rooms, image.elsewhere)
        if not {canonicalize_name(d) for d in owners.get(library, [library])} & installed
    }
    assert missing == set()
