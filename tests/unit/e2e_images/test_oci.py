"""Layers and archives: the same files give the same bytes; what an overlay hides stays hidden."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile

import pytest

from e2e.cluster.images.oci import EPOCH, LAYER, Layer, Layout, write_layer

CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"User": "65532:65532", "Entrypoint": ["modelhandoff"]},
    "created": "2026-01-01T00:00:00Z",
    "history": [{"created_by": "RUN something"}],
}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "diff"
    (root / "opt").mkdir(parents=True)
    (root / "opt" / "file").write_text("content")
    (root / "opt" / "file").chmod(0o640)
    (root / "opt" / "link").symlink_to("file")
    os.link(root / "opt" / "file", root / "opt" / "second")
    return root


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "layout")


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: info for info in archive}


def written(folder, mtime=EPOCH) -> bytes:
    out = io.BytesIO()
    write_layer(folder, out, mtime=mtime)
    return out.getvalue()


def test_a_layer_keeps_kinds_modes_and_links(folder):
    found = members(written(folder))
    assert list(found) == ["opt", "opt/file", "opt/link", "opt/second"]
    assert found["opt/file"].mode == 0o640
    assert found["opt/file"].size == len("content")
    assert found["opt/link"].issym()
    assert found["opt/link"].linkname == "file"
    assert found["opt/second"].islnk()
    assert found["opt/second"].linkname == "opt/file"


def test_the_same_files_give_the_same_bytes_whenever_they_were_written(folder):
    first = written(folder)
    os.utime(folder / "opt" / "file", (1, 1))
    assert written(folder) == first
    (folder / "opt" / "file").write_text("changed")
    assert written(folder) != first


def test_file_times_are_kept_on_demand(folder):
    os.utime(folder / "opt" / "file", (1_700_000_000, 1_700_000_000))
    assert members(written(folder, mtime=None))["opt/file"].mtime == 1_700_000_000


def test_a_removed_file_becomes_a_whiteout(folder):
    os.mknod(folder / "opt" / "gone", stat.S_IFCHR, os.makedev(0, 0))
    found = members(written(folder))
    assert found["opt/.wh.gone"].isreg()
    assert "opt/gone" not in found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write overlayfs's own attributes")
def test_a_folder_that_hides_the_one_below_says_so(folder):
    os.setxattr(folder / "opt", "trusted.overlay.opaque", b"y")
    assert "opt/.wh..wh..opq" in members(written(folder))


def test_a_stored_layer_carries_both_digests_and_is_packed_once(folder, layout):
    layer = layout.put_layer(folder, "sha256:identity")
    data = layout.path(layer.blob.digest).read_bytes()
    assert layer.blob.media_type == LAYER
    assert layer.blob.size == len(data)
    assert layer.blob.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(data)).hexdigest()}"
    assert gzip.decompress(data) == written(folder)

    (folder / "opt" / "file").write_text("the identity says it cannot have changed")
    assert layout.put_layer(folder, "sha256:identity") == layer


def test_a_layer_whose_blob_was_lost_is_packed_again(folder, layout):
    layer = layout.put_layer(folder, "sha256:identity")
    layout.path(layer.blob.digest).unlink()
    assert layout.put_layer(folder, "sha256:identity") == layer
    assert layout.path(layer.blob.digest).exists()


def test_an_image_names_its_layers_in_order_and_nothing_that_changes_by_itself(folder, layout):
    lower = layout.put_layer(folder, "sha256:lower")
    (folder / "opt" / "more").write_text("more")
    upper = layout.put_layer(folder, "sha256:upper")
    image = layout.put_image(CONFIG, [lower, upper])

    manifest = json.loads(layout.path(image.blob.digest).read_bytes())
    assert [layer["digest"] for layer in manifest["layers"]] == [
        lower.blob.digest,
        upper.blob.digest,
    ]
    config = json.loads(layout.path(manifest["config"]["digest"]).read_bytes())
    assert config["rootfs"]["diff_ids"] == [lower.diff_id, upper.diff_id]
    assert config["config"] == CONFIG["config"]

    later = {**CONFIG, "created": "2027-01-01T00:00:00Z"}
    assert layout.put_image(later, [lower, upper]) == image


def archive(layout, images, present=()):
    out = io.BytesIO()
    layout.write_archive(out, images, present=present)
    return out.getvalue()


def test_an_archive_names_every_image_and_holds_each_blob_once(folder, layout):
    layer = layout.put_layer(folder, "sha256:lower")
    image = layout.put_image(CONFIG, [layer])
    data = archive(layout, {"localhost/a:dev": image, "localhost/a@" + image.blob.digest: image})

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        index = json.load(tar.extractfile("index.json"))
    named = [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]]
    assert named == ["localhost/a:dev", f"localhost/a@{image.blob.digest}"]
    blobs = [n.rpartition("/")[2] for n in names if n.startswith("blobs/")]
    wanted = {image.blob.digest, *(part.digest for part in image.parts)}
    assert sorted(f"sha256:{b}" for b in blobs) == sorted(wanted)


def test_an_archive_leaves_out_what_the_reader_has_but_never_the_manifest(folder, layout):
    layer = layout.put_layer(folder, "sha256:lower")
    image = layout.put_image(CONFIG, [layer])
    present = {layer.blob.digest, image.blob.digest}
    names = members(archive(layout, {"localhost/a:dev": image}, present))
    held = {f"sha256:{n.rpartition('/')[2]}" for n in names if n.startswith("blobs/")}
    assert layer.blob.digest not in held
    assert image.blob.digest in held


def test_forgetting_spares_what_is_needed_and_what_is_young(folder, layout):
    old = layout.put_layer(folder, "sha256:old")
    (folder / "opt" / "more").write_text("more")
    new = layout.put_layer(folder, "sha256:new")
    image = layout.put_image(CONFIG, [new])
    written_at = layout.path(old.blob.digest).stat().st_mtime

    layout.forget([image], before=written_at)
    assert layout.path(old.blob.digest).exists()
    layout.forget([image], before=written_at + 1)
    assert not layout.path(old.blob.digest).exists()
    assert isinstance(new, Layer)
    assert all(layout.path(part.digest).exists() for part in (*image.parts, image.blob))
