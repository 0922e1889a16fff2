"""Container images of the project and of the cluster's parts, without a container engine.

    build_all(progress)                  every image that is out of date, then one archive of all
    build(names, ...)                    some of them
    image_ref("serve")                   localhost/modelhandoff/serve@sha256:...: what pods name
    load(cluster, names)                 give a running cluster the blobs that it lacks
    seed(folder)                         make a containerd folder with all images, in a second

`python -m e2e.cluster.images` does the same from a shell.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from e2e.cluster.errors import ClusterError
from e2e.cluster.images.builder import Builder
from e2e.cluster.images.catalogue import CATALOGUE, NOT_COMPILED, ProgramImage, repository, tag
from e2e.cluster.images.containerd import Containerd, link_root
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
    "seed",
    "write_archive",
]

ALL = tuple(CATALOGUE)
REPOSITORY = Path(__file__).parents[3]


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
        programs = {} if set(names) <= set(NOT_COMPILED) else compiled()
    built = _builder(progress).build(names, programs)
    return {name: _reference(name, image) for name, image in built.items()}


def build_all(progress: Progress = SILENT) -> list[Path]:
    """Build every image, and return one archive of all for `ctr -n k8s.io images import`."""
    build(progress=progress)
    return [write_archive(ALL)]


def image_ref(name: str) -> str:
    """The image as pods name it: by digest, so that it is exactly the one that was built."""
    return _reference(name, _known([name])[name])


def write_archive(names: Iterable[str] = ALL) -> Path:
    """An OCI archive of built images in the cache; the same images give the same file."""
    images = _known(names)
    folder = cache() / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    digest = key(*(f"{name}={image.blob.digest}" for name, image in sorted(images.items())))
    path = folder / f"images-{digest}.tar"
    if not path.exists():
        for old in folder.iterdir():
            old.unlink()
        partial = folder / "images.partial"
        with partial.open("wb") as out:
            _builder(SILENT).layout.write_archive(out, _names(images))
        partial.rename(path)
    return path


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


def seed(folder: Path, *, progress: Progress = SILENT) -> None:
    """Make `folder` a containerd root that has all images, unpacked.

    Made of hard links to a template in the cache, so it must be on the same file system. The
    template is brought up to date first: seconds after a change of our own code, half a minute the
    first time.

    Args:
        folder: must not exist; containerd may be started on it afterwards.
        progress: told when the template has to be changed.
    """
    with _template_lock():
        link_root(_template(progress), folder)


def _template(progress: Progress) -> Path:
    """The containerd folder with exactly the images built last."""
    images = _known(ALL)
    wanted = key(*(f"{name}={image.blob.digest}" for name, image in sorted(images.items())))
    parent = cache() / "containerd"
    parent.mkdir(parents=True, exist_ok=True)
    current = parent / wanted
    if current.exists():
        return current
    with progress.phase("Unpack images for containerd"):
        draft = parent / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        old = [path for path in parent.iterdir() if path != draft]
        if old:
            link_root(old[0], draft)
        with Containerd.running(draft) as containerd:
            load(containerd)
            keep = set(_names(images))
            gone = [n for n in containerd.ctr("images", "list", "-q").split() if n not in keep]
            if gone:
                containerd.ctr("images", "remove", "--sync", *gone)
        draft.rename(current)
        for path in old:
            shutil.rmtree(path)
    return current


@contextmanager
def _template_lock() -> Iterator[None]:
    with (cache() / "containerd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _names(images: Mapping[str, Manifest]) -> dict[str, Manifest]:
    """Each image under its moving tag and under its digest: containerd looks images up by name."""
    tags = {tag(name): image for name, image in images.items()}
    return tags | {_reference(name, image): image for name, image in images.items()}


def _reference(name: str, image: Manifest) -> str:
    return f"{repository(name)}@{image.blob.digest}"


def _known(names: Iterable[str]) -> dict[str, Manifest]:
    builder = _builder(SILENT)
    out: dict[str, Manifest] = {}
    for name in names:
        built = builder.known(name)
        if built is None:
            raise ClusterError(
                f"image {name} is not built; run: python -m e2e.cluster.images build"
            )
        out[name] = built.image
    return out


def _builder(progress: Progress) -> Builder:
    return Builder(cache(), REPOSITORY, progress)


def compiled() -> dict[str, Path]:
    """The compiled programs that go into images, built when missing."""
    from e2e.cluster.build import binaries

    stack = binaries("stack")
    images = [i for i in CATALOGUE.values() if isinstance(i, ProgramImage) and i.compiled]
    return {image.program: stack[image.program] for image in images}
