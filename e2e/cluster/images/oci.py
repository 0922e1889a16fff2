"""Layer folders to OCI blobs, and archives of chosen images for `ctr images import`.

The same files always give the same bytes, so a rebuild that changed nothing keeps its digest, and
an import has to carry only the blobs that containerd lacks.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from e2e.cluster.errors import ClusterError

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EPOCH = 1_577_836_800
"""File time inside our own layers: 2020-01-01. Byte code is unchecked, so no one compares times."""

_OPAQUE = "trusted.overlay.opaque"


@dataclass(frozen=True)
class Blob:
    """A content-addressed file. `digest` is `sha256:<hex>`, `size` in bytes."""

    media_type: str
    digest: str
    size: int

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Layer:
    """A compressed layer and the digest of its uncompressed tar."""

    blob: Blob
    diff_id: str


@dataclass(frozen=True)
class Manifest:
    """One image: its manifest and everything the manifest names."""

    blob: Blob
    parts: tuple[Blob, ...]


class Layout:
    """A folder of blobs, `blobs/sha256/<hex>`."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._layers = root / "layers"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._layers.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def put(self, media_type: str, data: bytes) -> Blob:
        blob = Blob(media_type, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        path = self.path(blob.digest)
        if not path.exists():
            with self._partial() as partial:
                partial.write(data)
            Path(partial.name).rename(path)
        return blob

    def put_layer(self, folder: Path, identity: str, *, keep_times: bool = False) -> Layer:
        """The layer of an overlayfs folder; packed once per `identity`.

        Args:
            folder: what the layer adds, with overlayfs's marks for what it removes.
            identity: content address of the folder.
            keep_times: keep file times (the base image's byte code is checked against them).
        """
        record = self._layers / f"{identity.removeprefix('sha256:')}.json"
        if record.exists():
            known = json.loads(record.read_text())
            layer = Layer(Blob(**known["blob"]), known["diff_id"])
            if self.path(layer.blob.digest).exists():
                return layer
        with self._partial() as partial:
            sink = _GzipSink(partial)
            write_layer(folder, sink, mtime=None if keep_times else EPOCH)
            sink.finish()
            size = partial.tell()
        blob = Blob(LAYER, f"sha256:{sink.compressed.hexdigest()}", size)
        Path(partial.name).rename(self.path(blob.digest))
        layer = Layer(blob, f"sha256:{sink.plain.hexdigest()}")
        record.write_text(json.dumps(asdict(layer)))
        return layer

    def put_image(self, config: dict[str, Any], layers: Iterable[Layer]) -> Manifest:
        """Write configuration and manifest of an image made of `layers`, lowest first."""
        layers = tuple(layers)
        plain = {
            "created": "2020-01-01T00:00:00Z",
            "architecture": config["architecture"],
            "os": config["os"],
            "config": config["config"],
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
        config_blob = self.put(CONFIG, _json(plain))
        parts = (config_blob, *(layer.blob for layer in layers))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_blob.descriptor(),
            "layers": [layer.blob.descriptor() for layer in layers],
        }
        return Manifest(self.put(MANIFEST, _json(manifest)), parts)

    def write_archive(
        self, out: IO[bytes], images: dict[str, Manifest], *, present: Collection[str] = ()
    ) -> int:
        """Write an OCI archive; the number of bytes of blobs in it.

        Args:
            out: gets an uncompressed tar.
            images: full image name (with tag or digest) -> image.
            present: digests that the reader has already; they are left out.
        """
        descriptors = [
            {
                **image.blob.descriptor(),
                "annotations": {"io.containerd.image.name": name},
                "platform": {"architecture": "amd64", "os": "linux"},
            }
            for name, image in sorted(images.items())
        ]
        blobs = {
            blob.digest: blob
            for image in images.values()
            for blob in (*image.parts, image.blob)
            # Manifests are tiny, and an archive without them names nothing.
            if blob.media_type == MANIFEST or blob.digest not in present
        }
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            for digest in sorted(blobs):
                info = tarfile.TarInfo(f"blobs/sha256/{digest.removeprefix('sha256:')}")
                info.size = blobs[digest].size
                with self.path(digest).open("rb") as source:
                    archive.addfile(info, source)
            _add(archive, "index.json", _json({"schemaVersion": 2, "manifests": descriptors}))
        return sum(blob.size for blob in blobs.values())

    def forget(self, manifests: Iterable[Manifest], *, before: float) -> None:
        """Delete blobs that none of the images needs, half-written ones too.

        Args:
            manifests: the images that stay.
            before: younger blobs stay as well (seconds since 1970): a process may still use them.
        """
        wanted = {b.digest for m in manifests for b in (*m.parts, m.blob)}
        for path in self._blobs.iterdir():
            if f"sha256:{path.name}" not in wanted and path.stat().st_mtime < before:
                path.unlink()

    def _partial(self) -> tempfile._TemporaryFileWrapper[bytes]:
        """A new file among the blobs; several threads write layers."""
        return tempfile.NamedTemporaryFile(dir=self._blobs, prefix="partial-", delete=False)


def write_layer(folder: Path, out: Any, *, mtime: int | None) -> None:
    """Write the tar of one layer, names sorted, owners by number.

    Args:
        folder: an overlayfs upper folder.
        out: anything with `write`.
        mtime: time given to every entry, in seconds since 1970; None keeps each one's own.

    Raises:
        ClusterError: a file carries a security label, which this writer would lose.
    """
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in _walk(folder):
            name = str(path.relative_to(folder))
            status = path.lstat()
            removed = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
            if removed:
                info = tarfile.TarInfo(str(Path(name).parent / f".wh.{path.name}"))
            else:
                info = archive.gettarinfo(str(path), arcname=name)
                _refuse_labels(path)
            info.mtime = int(status.st_mtime) if mtime is None else mtime
            info.uname = info.gname = ""
            if info.isreg() and not removed:
                with path.open("rb") as source:
                    archive.addfile(info, source)
            else:
                archive.addfile(info)
            if stat.S_ISDIR(status.st_mode) and _is_opaque(path):
                archive.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq"))


def _walk(folder: Path) -> Iterable[Path]:
    """Everything below `folder`, parents before children, siblings by name."""
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        path = Path(entry.path)
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)


def _is_opaque(path: Path) -> bool:
    return _OPAQUE in os.listxattr(path) and os.getxattr(path, _OPAQUE) == b"y"


def _refuse_labels(path: Path) -> None:
    labels = [a for a in os.listxattr(path, follow_symlinks=False) if a.startswith("security.")]
    if labels:
        raise ClusterError(f"{path}: {labels[0]} cannot be kept in an image layer")


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class _GzipSink:
    """Compresses what is written to it and hashes both sides."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        # Level 1: half the size of the files at a third of the time; level 6 gains another tenth.
        self._gzip = zlib.compressobj(1, zlib.DEFLATED, 31)
        self.plain = hashlib.sha256()
        self.compressed = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.plain.update(data)
        self._emit(self._gzip.compress(data))
        return len(data)

    def finish(self) -> None:
        self._emit(self._gzip.flush())

    def _emit(self, data: bytes) -> None:
        self.compressed.update(data)
        self._out.write(data)
