"""Container images of the project and of the cluster's parts, without a container engine.

    build_all(progress)                  every image that is out of date, then archives of all
    build(names, ...)                    some of them
    image_ref("serve")                   localhost/modelhandoff/serve@sha256:...: what pods name
    load(cluster, names)                 give a running cluster the blobs that it lacks

`python -m e2e.cluster.images` does the same from a shell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from e2e.cluster.errors import ClusterError
from e2e.cluster.images.builder import Builder
from e2e.cluster.images.catalogue import CATALOGUE, NOT_COMPILED, OWN, ProgramImage, repository, tag
from e2e.cluster.images.keys import key
from e2e.cluster.images.oci import Manifest
from e2e.cluster.paths import home
from e2e.cluster.progress import SILENT, Progress

__all__ = [
    "ALL",
    "NOT_COMPILED",
    "build",
    "build_all",
    "image_ref",
    "load",
    "write_archive",
]

ALL = tuple(CATALOGUE)
REPOSITORY = Path(__file__).parents[3]

_ours: dict[str, Manifest] = {}
"""What this process has built: it goes on with that, even if another builds something newer."""


class Runtime(Protocol):
    """What `load` needs of a running cluster."""

    def ctr(self, *arguments: str) -> str:
        """Run containerd's client; its output."""

    def import_images(self, paths: list[Path]) -> None:
        """Import image archives."""


def cache() -> Path:
    """Where images are kept."""
    return home() / "images"


def build(
    names: Iterable[str] = ALL,
    *,
    programs: Mapping[str, Path] | None = None,
    progress: Progress = SILENT,
) -> dict[str, str]:
    """Bring images up to date; an image that is up to date costs milliseconds.

    Args:
        names: folders under `images/`.
        programs: compiled programs by file name; None asks `e2e.cluster.build` when one is needed.
        progress: told about every phase.

    Returns:
        The reference by digest of each image.

    Raises:
        ClusterError: a tool is missing or a step failed.
    """
    names = list(names)
    if unknown := [name for name in names if name not in CATALOGUE]:
        raise ClusterError(f"images: unknown name; got {unknown[0]!r}; allowed {', '.join(ALL)}")
    if programs is None:
        programs = {} if set(names) <= set(NOT_COMPILED) else compiled(progress)
    built = _builder(progress).build(names, programs)
    _ours.update(built)
    return {name: _reference(name, image) for name, image in built.items()}


def build_all(progress: Progress = SILENT) -> list[Path]:
    """Build every image; archives for `Cluster.start(images=...)`.

    The archives hold all that is large, and change only when that changes. Our own images in them
    may be those of an earlier build: `load` (which `addons.install` calls) then sends the last
    layers, a megabyte. So a change of our code does not cost unpacking everything again.
    """
    build(progress=progress)
    images = _known(ALL)
    return [
        _archive(
            "cluster", images, *(f"{n}={_slow_layers(n, i)}" for n, i in sorted(images.items()))
        )
    ]


def write_archive(names: Iterable[str] = ALL) -> Path:
    """An OCI archive of images exactly as they were built last, for any container engine."""
    images = _known(names)
    return _archive("export", images, *(f"{n}={i.blob.digest}" for n, i in sorted(images.items())))


def image_ref(name: str) -> str:
    """The image as pods name it: by digest, so that it is exactly the one that was built."""
    return _reference(name, _known([name])[name])


def load(cluster: Runtime, names: Iterable[str] = ALL) -> dict[str, str]:
    """Import built images into a running cluster; only blobs that it lacks are sent.

    Returns:
        The reference by digest of each image.
    """
    images = _known(names)
    present = set(cluster.ctr("images", "list", "-q").split())
    missing = {n: i for n, i in images.items() if _reference(n, i) not in present}
    if missing:
        blobs = set(cluster.ctr("content", "list", "-q").split())
        with tempfile.TemporaryDirectory(dir=cache() / "tmp") as folder:
            path = Path(folder) / "images.tar"
            with path.open("wb") as out:
                _builder(SILENT).layout.write_archive(out, _names(missing), present=blobs)
            cluster.import_images([path])
    return {name: _reference(name, image) for name, image in images.items()}


def _slow_layers(name: str, image: Manifest) -> list[str]:
    """Digests of the layers that a change of our own code leaves alone."""
    layers = image.parts[1:-1] if name in OWN else image.parts[1:]
    return [layer.digest for layer in layers]


def _archive(purpose: str, images: Mapping[str, Manifest], *decisive: str) -> Path:
    """The archive of these images in the cache; one that agrees in what is decisive will do."""
    folder = cache() / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{purpose}-{key(*decisive)}.tar"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f"{purpose}-", delete=False) as out:
            _builder(SILENT).layout.write_archive(out, _names(images))
        for old in folder.glob(f"{purpose}-*.tar"):
            old.unlink(missing_ok=True)
        Path(out.name).rename(path)
    return path


def _names(images: Mapping[str, Manifest]) -> dict[str, Manifest]:
    """Each image under its moving tag and under its digest: containerd looks images up by name."""
    tags = {tag(name): image for name, image in images.items()}
    return tags | {_reference(name, image): image for name, image in images.items()}


def _reference(name: str, image: Manifest) -> str:
    return f"{repository(name)}@{image.blob.digest}"


def _known(names: Iterable[str]) -> dict[str, Manifest]:
    return {name: _ours.get(name) or _built(name) for name in names}


def _built(name: str) -> Manifest:
    built = _builder(SILENT).known(name)
    if built is None:
        raise ClusterError(f"image {name} is not built; run: python -m e2e.cluster.images build")
    return built.image


def _builder(progress: Progress) -> Builder:
    return Builder(cache(), REPOSITORY, progress)


def compiled(progress: Progress = SILENT) -> dict[str, Path]:
    """The compiled programs that go into images, built when missing."""
    from e2e.cluster.build import binaries

    stack = binaries("stack", progress=progress)
    images = [i for i in CATALOGUE.values() if isinstance(i, ProgramImage) and i.compiled]
    return {image.program: stack[image.program] for image in images}
