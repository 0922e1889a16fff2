"""Which images there are, and what each is made of. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PYTHON_VERSION = "3.11"
"""The Python of the base image (Debian 12)."""

PLATFORMS = ("manylinux_2_31_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64")
"""Wheel platforms that the base image's glibc (2.36) runs, newest first."""

BASE_PACKAGES = ("python3", "ca-certificates")


@dataclass(frozen=True)
class PythonImage:
    """Our own package with the locked libraries of some extras.

    Attributes:
        name: folder under `images/`.
        extras: extras of `pyproject.toml` whose libraries go in.
        pruned: libraries left out together with what only they need: this image must not need them.
        rooms: packages and modules that run in this image.
        elsewhere: modules of them that are never imported in this image.
    """

    name: str
    extras: tuple[str, ...]
    pruned: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProgramImage:
    """One program on the base image.

    Attributes:
        name: folder under `images/`.
        program: its file name, here and in `e2e.cluster.build.PROGRAMS`.
        origin: compiled from its Go module, or taken out of a wheel or a Debian package. The wheel
            is named in `requirements.txt`, the package is called like the program.
    """

    name: str
    program: str
    origin: Literal["module", "wheel", "debian"] = "module"

    @property
    def compiled(self) -> bool:
        """Whether it is compiled here."""
        return self.origin == "module"


Image = PythonImage | ProgramImage

CATALOGUE: dict[str, Image] = {
    image.name: image
    for image in (
        PythonImage(
            "operator",
            ("operator",),
            rooms=("modelhandoff.controller", "modelhandoff.cli"),
            # For somebody's own machine; they say what is missing.
            elsewhere=("modelhandoff.cli.init", "modelhandoff.cli.pack", "modelhandoff.cli.verify"),
        ),
        PythonImage(
            "serve",
            ("serve",),
            pruned=("kubernetes", "scipy"),
            rooms=(
                "modelhandoff.serve",
                "modelhandoff.verify.collect",
                "modelhandoff.verify.fetch",
                "modelhandoff.verify.warmup",
            ),
        ),
        PythonImage("verify", ("verify",), pruned=("kubernetes",), rooms=("modelhandoff.verify",)),
        ProgramImage("envoy", "envoy", origin="wheel"),
        ProgramImage("envoy-gateway", "envoy-gateway"),
        ProgramImage("coredns", "coredns"),
        ProgramImage("prometheus", "prometheus"),
        ProgramImage("gpu-plugin", "gpuplugin"),
        ProgramImage("registry", "docker-registry", origin="debian"),
    )
}

OWN = tuple(name for name, image in CATALOGUE.items() if isinstance(image, PythonImage))
"""The images that change with our own Python code."""

NOT_COMPILED = tuple(
    name for name, image in CATALOGUE.items() if name in OWN or not getattr(image, "compiled", True)
)
"""Images that need no compiled program: they can be built while the compiler still runs."""


def repository(name: str) -> str:
    """The image's name without tag: our own ones carry the project's name."""
    return f"localhost/modelhandoff/{name}" if name in OWN else f"localhost/{name}"


def tag(name: str) -> str:
    """The image's name with the tag that always means the newest build."""
    return f"{repository(name)}:dev"
