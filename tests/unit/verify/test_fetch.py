"""The init container: only the promised bytes reach the model directory."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelhandoff.verify.access import Access
from modelhandoff.verify.fetch import Budget, Exit, FetchFailed, fetch_all, main
from modelhandoff.verify.manifest import BadManifest, Wanted, parse_manifest

CONTENT = bytes(range(256)) * 4000  # a megabyte, several chunks


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Site:
    """An HTTP server on loopback. Paths of ``files`` are served as they are."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    failures: dict[str, list[int]] = field(default_factory=dict)
    cut_after: dict[str, int] = field(default_factory=dict)
    unannounced: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.port}{path}"


def handler_of(site):
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_args):
            pass

        def do_GET(self):
            path = self.path
            site.requests.append(path)
            if site.failures.get(path):
                self.send_error(site.failures[path].pop(0))
            elif path in site.redirects:
                self.send_response(302)
                self.send_header("Location", site.redirects[path])
                self.end_headers()
            elif path in site.files:
                content = site.files[path]
                self.send_response(200)
                if path not in site.unannounced:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: site.cut_after.pop(path, len(content))])
            else:
                self.send_error(404)

    return Handler


@pytest.fixture
def site():
    site = Site()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(site))
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(site, tmp_path):
    """Fetch artifacts given as (uri, digest[, file]); pauses are recorded, not slept."""
    pauses = []

    def go(*artifacts, max_bytes=10_000_000, access=None, deadline=100.0, clock=lambda: 0.0):
        wanted = [
            Wanted("Model", uri, digest, (rest or ["model.onnx"])[0])
            for uri, digest, *rest in artifacts
        ]
        budget = Budget(max_bytes, deadline, clock, pauses.append)
        return fetch_all(wanted, tmp_path / "models", access or Access(timeout=5.0), budget)

    go.pauses = pauses
    go.directory = tmp_path / "models"
    return go


def everything_below(directory):
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def test_the_promised_bytes_are_put_in_place_read_only(site, run):
    site.files["/a/model.onnx"] = CONTENT
    (done,) = run((site.url("/a/model.onnx"), digest_of(CONTENT)))
    target = run.directory / "model.onnx"
    assert target.read_bytes() == CONTENT
    assert (done.size, done.fetched) == (len(CONTENT), True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o444
    assert stat.S_IMODE(run.directory.stat().st_mode) == 0o555


def test_a_single_flipped_bit_is_refused_and_leaves_nothing_behind(site, run):
    flipped = bytearray(CONTENT)
    flipped[500_000] ^= 1
    site.files["/m"] = bytes(flipped)
    with pytest.raises(FetchFailed, match="digest is wrong") as caught:
        run((site.url("/m"), digest_of(CONTENT)))
    assert caught.value.status is Exit.WRONG_DIGEST
    assert digest_of(CONTENT) in str(caught.value)
    assert digest_of(bytes(flipped)) in str(caught.value)
    assert everything_below(run.directory) == []
    assert site.requests == ["/m"]  # the same bytes would come again


def test_a_wrong_digest_of_the_second_artifact_stops_the_pod(site, run):
    site.files |= {"/m": CONTENT, "/r": b"{}"}
    with pytest.raises(FetchFailed, match="digest is wrong"):
        run(
            (site.url("/m"), digest_of(CONTENT)),
            (site.url("/r"), digest_of(b"{ }"), "sub/reference.json"),
        )
    assert everything_below(run.directory) == ["model.onnx"]


def test_a_second_run_fetches_nothing_and_repairs_what_was_changed(site, run):
    site.files |= {"/m": CONTENT, "/r": b"{}"}
    artifacts = (
        (site.url("/m"), digest_of(CONTENT)),
        (site.url("/r"), digest_of(b"{}"), "sub/reference.json"),
    )
    run(*artifacts)
    again = run(*artifacts)
    assert [item.fetched for item in again] == [False, False]
    assert site.requests == ["/m", "/r"]
    changed = run.directory / "sub/reference.json"
    changed.chmod(0o644)
    changed.write_bytes(b"{!}")
    third = run(*artifacts)
    assert [item.fetched for item in third] == [False, True]
    assert changed.read_bytes() == b"{}"


def test_a_link_in_the_way_is_replaced_not_followed(site, run, tmp_path):
    site.files["/m"] = CONTENT
    outside = tmp_path / "outside"
    outside.write_bytes(CONTENT)
    run.directory.mkdir()
    (run.directory / "model.onnx").symlink_to(outside)
    (done,) = run((site.url("/m"), digest_of(CONTENT)))
    assert done.fetched
    assert not (run.directory / "model.onnx").is_symlink()


def test_what_a_killed_run_left_half_written_is_swept(site, run):
    site.files["/m"] = CONTENT
    run.directory.mkdir()
    (run.directory / ".part-model.onnx").write_bytes(CONTENT[:1000])
    run((site.url("/m"), digest_of(CONTENT)))
    assert everything_below(run.directory) == ["model.onnx"]


def test_a_download_that_breaks_off_is_tried_again(site, run):
    site.files["/m"] = CONTENT
    site.cut_after["/m"] = 300_000
    (done,) = run((site.url("/m"), digest_of(CONTENT)))
    assert done.size == len(CONTENT)
    assert site.requests == ["/m", "/m"]
    assert run.pauses == [1.0]


def test_a_download_cut_without_announcement_is_a_wrong_digest(site, run):
    site.files["/m"] = CONTENT
    site.unannounced.add("/m")
    site.cut_after["/m"] = 300_000
    with pytest.raises(FetchFailed, match=r"digest is wrong; got sha256:\w+ \(300000 bytes\)"):
        run((site.url("/m"), digest_of(CONTENT)))


def test_a_busy_server_is_asked_four_times_with_growing_pauses(site, run):
    site.failures["/m"] = [503] * 9
    with pytest.raises(FetchFailed, match=r"server answered 503 .*\(4 attempts\)") as caught:
        run((site.url("/m"), digest_of(CONTENT)))
    assert caught.value.status is Exit.UNAVAILABLE
    assert run.pauses == [1.0, 2.0, 4.0]


def test_a_busy_server_that_recovers_is_enough(site, run):
    site.files["/m"] = CONTENT
    site.failures["/m"] = [503, 429]
    run((site.url("/m"), digest_of(CONTENT)))
    assert run.pauses == [1.0, 2.0]


def test_no_attempt_is_begun_past_the_deadline(site, run):
    site.failures["/m"] = [503] * 9
    with pytest.raises(FetchFailed, match=r"server answered 503 .*\(2 attempts\)"):
        run((site.url("/m"), digest_of(CONTENT)), deadline=2.5, clock=iter([0.0, 1.0]).__next__)
    assert run.pauses == [1.0]


def test_a_download_does_not_outlast_the_deadline(site, run):
    site.files["/m"] = CONTENT
    with pytest.raises(FetchFailed, match="deadline passed during the download"):
        run((site.url("/m"), digest_of(CONTENT)), deadline=5.0, clock=lambda: 9.0)


def test_what_is_not_there_is_not_asked_for_twice(site, run):
    with pytest.raises(FetchFailed, match="server answered 404"):
        run((site.url("/m"), digest_of(CONTENT)))
    assert site.requests == ["/m"]


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_over_the_cap_is_refused(site, run, announced):
    site.files["/m"] = CONTENT
    if not announced:
        site.unannounced.add("/m")
    with pytest.raises(FetchFailed, match=r"too large; got at least .* allowed 1000"):
        run((site.url("/m"), digest_of(CONTENT)), max_bytes=1000)
    assert everything_below(run.directory) == []


def test_a_redirect_on_the_same_host_is_followed(site, run):
    site.files["/there"] = CONTENT
    site.redirects["/here"] = "/there"
    run((site.url("/here"), digest_of(CONTENT)))
    assert site.requests == ["/here", "/there"]


def test_a_redirect_to_another_host_is_refused_before_it_is_dialled(site, run):
    site.files["/there"] = CONTENT
    site.redirects["/here"] = site.url("/there", host="localhost")
    with pytest.raises(FetchFailed, match="redirect to another host; got 'localhost'"):
        run((site.url("/here"), digest_of(CONTENT)))
    assert site.requests == ["/here"]


def test_a_redirect_to_a_file_is_refused(site, run):
    site.redirects["/here"] = "file:///etc/hostname"
    with pytest.raises(FetchFailed, match="address must be"):
        run((site.url("/here"), digest_of(CONTENT)))


def test_redirects_in_a_circle_end(site, run):
    site.redirects["/here"] = "/here"
    with pytest.raises(FetchFailed, match="more than 5 redirects"):
        run((site.url("/here"), digest_of(CONTENT)))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "224.0.0.1",
        "0.0.0.0",
    ],
)
def test_a_name_that_leads_to_a_metadata_service_is_not_dialled(run, address):
    access = Access(timeout=1.0, resolver=lambda _host, _port: [address])
    with pytest.raises(FetchFailed, match="address is link-local, multicast or a metadata service"):
        run(("http://models.example/m", digest_of(CONTENT)), access=access)


def test_the_checked_address_is_the_one_dialled(site, run):
    site.files["/m"] = CONTENT
    asked = []

    def resolver(host, port):
        asked.append((host, port))
        return ["127.0.0.1"]

    access = Access(timeout=5.0, resolver=resolver)
    uri = site.url("/m", host="models.example")
    run((uri, digest_of(CONTENT)), access=access)
    assert asked == [("models.example", site.port)]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("oci://registry.example/m", "address must be oci://HOST/REPOSITORY:TAG"),
        ("https://models.example/ü", "address must be in ASCII"),
        ("ftp://models.example/m", "scheme is not supported; got 'ftp'"),
        ("http://user:secret@models.example/m", "must not carry a user or password"),
        ("http://models.example:99999/m", "not an address"),
        ("http:///m", "address must be"),
        ("file://elsewhere/m", "file address has a host"),
        ("configmap://cm", "address must be configmap://NAME/KEY"),
        ("configmap://cm/../../secret", "address must be configmap://NAME/KEY"),
        ("pvc://../x", "address must be pvc://CLAIM/PATH"),
        ("configmap://cm/absent", "there is no ConfigMap cm with a key absent in this namespace"),
        ("pvc://disk/absent", "claim disk has no file absent: No such file or directory"),
    ],
)
def test_an_address_that_is_not_allowed_is_refused(run, tmp_path, uri, said):
    access = Access(configmaps=tmp_path / "configmaps", claims=tmp_path / "claims")
    with pytest.raises(FetchFailed, match=said):
        run((uri, digest_of(CONTENT)), access=access)
    assert run.pauses == []


def test_plain_http_can_be_forbidden(site, run):
    with pytest.raises(FetchFailed, match="plain http is not allowed here; allowed https"):
        run((site.url("/m"), digest_of(CONTENT)), access=Access(allow_http=False))
    assert site.requests == []


def test_mounted_files_are_checked_like_any_other(run, tmp_path):
    (tmp_path / "configmaps/cm").mkdir(parents=True)
    (tmp_path / "configmaps/cm/model.onnx").write_bytes(CONTENT)
    (tmp_path / "claims/disk/deep").mkdir(parents=True)
    (tmp_path / "claims/disk/deep/data").write_bytes(b"data")
    (tmp_path / "plain").write_bytes(b"plain")
    access = Access(configmaps=tmp_path / "configmaps", claims=tmp_path / "claims")
    run(
        ("configmap://cm/model.onnx", digest_of(CONTENT)),
        ("pvc://disk/deep/data", digest_of(b"data"), "data"),
        (f"file://{tmp_path}/plain", digest_of(b"plain"), "plain"),
        access=access,
    )
    assert everything_below(run.directory) == ["data", "model.onnx", "plain"]
    with pytest.raises(FetchFailed, match="digest is wrong"):
        run(("pvc://disk/deep/data", digest_of(b"other"), "other"), access=access)


def test_links_inside_a_volume_are_followed(run, tmp_path):
    """The kubelet itself makes such links in a ConfigMap's volume."""
    folder = tmp_path / "configmaps/cm"
    (folder / "..2026").mkdir(parents=True)
    (folder / "..2026/model.onnx").write_bytes(CONTENT)
    (folder / "..data").symlink_to("..2026")
    (folder / "model.onnx").symlink_to("..data/model.onnx")
    run(
        ("configmap://cm/model.onnx", digest_of(CONTENT)),
        access=Access(configmaps=tmp_path / "configmaps"),
    )


@pytest.mark.parametrize("leads", ["../../secret", "/etc/hostname", "folder/secret", "../other/m"])
def test_a_link_that_leads_out_of_its_volume_is_refused(run, tmp_path, leads):
    (tmp_path / "secret").write_bytes(CONTENT)
    (tmp_path / "claims/disk").mkdir(parents=True)
    (tmp_path / "claims/other").mkdir()
    (tmp_path / "claims/other/m").write_bytes(CONTENT)
    (tmp_path / "claims/disk/folder").symlink_to(tmp_path)
    (tmp_path / "claims/disk/m").symlink_to(leads)
    with pytest.raises(FetchFailed, match="m is a link that leads out of its volume"):
        run(("pvc://disk/m", digest_of(CONTENT)), access=Access(claims=tmp_path / "claims"))


def test_what_is_no_file_is_refused_and_waited_for_by_nobody(run, tmp_path):
    disk = tmp_path / "claims/disk"
    (disk / "folder").mkdir(parents=True)
    os.mkfifo(disk / "pipe")
    (disk / "circle").symlink_to("circle")
    access = Access(claims=tmp_path / "claims")
    for name, said in (
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
        ("circle", "link"),
    ):
        with pytest.raises(FetchFailed, match=said):
            run((f"pvc://disk/{name}", digest_of(CONTENT)), access=access)


GOOD = {"role": "Model", "uri": "http://a/m", "digest": digest_of(b""), "file": "m.onnx"}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "manifest: not JSON"),
        ("{}", "manifest: must be a list of 1 to 40 artifacts"),
        ([], "manifest: must be a list of 1 to 40 artifacts"),
        ([GOOD] * 41, "manifest: must be a list of 1 to 40 artifacts"),
        ([7], r"manifest\[0\]: must be an object with exactly"),
        ([{**GOOD, "mode": "x"}], r"manifest\[0\]: must be an object with exactly"),
        ([{**GOOD, "uri": 7}], r"manifest\[0\]\.uri: must be text"),
        ([{**GOOD, "digest": "md5:0"}], r"manifest\[0\]\.digest: got 'md5:0'"),
        ([{**GOOD, "digest": GOOD["digest"].upper()}], r"manifest\[0\]\.digest"),
        ([GOOD, GOOD], r"manifest\[1\]\.file: given twice"),
        *(
            ([{**GOOD, "file": file}], r"manifest\[0\]\.file: got ")
            for file in (
                "/etc/passwd",
                "../m",
                "a/../m",
                ".hidden",
                "a//b",
                "a/",
                "-rf",
                "a\nb",
                "ü",
            )
        ),
    ],
)
def test_a_malformed_manifest_is_refused_with_its_path(document, said):
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(BadManifest, match=said):
        parse_manifest(text)


def artifacts_of(site, digest):
    return json.dumps(
        [{"role": "Model", "uri": site.url("/m"), "digest": digest, "file": "m.onnx"}]
    )


def test_success_is_a_json_line_in_the_termination_message(site, tmp_path, capsys):
    site.files["/m"] = CONTENT
    log = tmp_path / "termination-log"
    log.write_text("")
    environ = {
        "MODEL_DIR": str(tmp_path / "models"),
        "MODELHANDOFF_ARTIFACTS": artifacts_of(site, digest_of(CONTENT)),
    }
    assert main(["--termination-log", str(log)], environ) == 0
    expected = {
        "verdict": "Fetched",
        "artifacts": [
            {
                "role": "Model",
                "file": "m.onnx",
                "digest": digest_of(CONTENT),
                "bytes": len(CONTENT),
                "fetched": True,
            }
        ],
    }
    assert json.loads(log.read_text()) == expected
    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"MODEL_DIR": None}, (2, "fetch: MODEL_DIR: must name")),
        ({"MODELHANDOFF_ARTIFACTS": None}, (2, "fetch: MODELHANDOFF_ARTIFACTS: must hold")),
        ({"MODELHANDOFF_ARTIFACTS": "["}, (2, "fetch: manifest: not JSON")),
        ({"MODELHANDOFF_ARTIFACTS": "@/absent"}, (2, "No such file")),
        ({"MODELHANDOFF_MAX_BYTES": "lots"}, (2, "fetch: argument --max-bytes")),
        ({"MODEL_DIR": "/dev/null/models"}, (5, "Not a directory")),
        ({}, (3, "digest is wrong")),
    ],
)
def test_failure_is_one_line_and_a_status(site, tmp_path, capsys, changes, ends):
    status, said = ends
    site.files["/m"] = CONTENT
    log = tmp_path / "termination-log"
    log.write_text("a message of an earlier run that is much longer than the new one " * 20)
    environ = {
        "MODEL_DIR": str(tmp_path / "models"),
        "MODELHANDOFF_ARTIFACTS": artifacts_of(site, digest_of(b"else")),
        **changes,
    }
    given = {name: value for name, value in environ.items() if value is not None}
    assert main(["--termination-log", str(log)], given) == status
    line = capsys.readouterr().err
    assert said in line
    assert len(line.splitlines()) == 1
    if "--max-bytes" not in said:  # the option for the log was not understood yet
        assert log.read_text() == line.rstrip("\n")


def test_the_module_runs_on_the_standard_library_alone(site, tmp_path):
    """The init container must not pay for onnxruntime or pydantic."""
    site.files["/m"] = b"x"
    env = {
        **os.environ,
        "MODEL_DIR": str(tmp_path / "models"),
        "MODELHANDOFF_ARTIFACTS": artifacts_of(site, digest_of(b"x")),
    }
    code = (
        "import sys, runpy, atexit\n"
        "atexit.register(lambda: print(sorted(m for m in sys.modules if m.split('.')[0] in "
        "{'onnxruntime','pydantic','numpy','aiohttp','kubernetes','yaml'})))\n"
        "runpy.run_module('modelhandoff.verify.fetch', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert Path(tmp_path / "models/m.onnx").read_bytes() == b"x"
