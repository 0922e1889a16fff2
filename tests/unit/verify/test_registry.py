"""An artifact from an OCI registry: which answers are believed, and who may be asked."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelhandoff.verify import registry as registry_module
from modelhandoff.verify import web
from modelhandoff.verify.access import Access
from modelhandoff.verify.fetch import Budget, Exit, FetchFailed, fetch_all
from modelhandoff.verify.manifest import Wanted
from tests.unit.verify.registry_site import INDEX, Registry, digest_of, running

MODEL = bytes(range(256)) * 2000
CARD = b"# A model"
PUBLIC = "93.184.216.34"


@pytest.fixture
def site():
    with running(Registry()) as site:
        yield site


@pytest.fixture
def fetch(site, tmp_path):
    """Fetch artifacts given as (address below the registry, digest); pauses are not slept."""

    def go(*artifacts, scheme="oci+http", access=None):
        wanted = [
            Wanted("Model", f"{scheme}://{site.host}/{below}", digest, f"file-{number}")
            for number, (below, digest) in enumerate(artifacts)
        ]
        budget = Budget(10_000_000, 100.0, lambda: 0.0, lambda _seconds: None)
        used = access or Access(timeout=5.0, resolver=lambda _host, _port: ["127.0.0.1"])
        return fetch_all(wanted, tmp_path / "models", used, budget)

    go.directory = tmp_path / "models"
    return go


def refused(fetch, *artifacts, status=Exit.UNAVAILABLE, **more):
    """The line that a fetch ends with; nothing of it may stay behind."""
    with pytest.raises(FetchFailed) as caught:
        fetch(*artifacts, **more)
    assert caught.value.status is status
    assert [p for p in fetch.directory.rglob("*") if p.is_file()] == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def wants_tokens(site, realm=None):
    site.realm = realm or f"http://{site.host}/token"
    site.challenge = f'Bearer realm="{site.realm}",service="registry",scope="all:of:it"'


# The bytes


@pytest.mark.parametrize("named", ["tag", "digest"])
@pytest.mark.parametrize("title", ["", "#model.onnx"])
def test_a_layer_is_fetched_by_tag_or_digest_with_or_without_its_title(site, fetch, named, title):
    pinned = site.push({"card.md": CARD, "model.onnx": MODEL})
    version = ":1.4.0" if named == "tag" else f"@{pinned}"
    (done,) = fetch((f"team/fraud{version}{title}", digest_of(MODEL)))
    assert (fetch.directory / "file-0").read_bytes() == MODEL
    assert done.size == len(MODEL)


def test_several_files_of_one_bundle_cost_one_manifest_and_one_token(site, fetch):
    wants_tokens(site)
    site.push({"model.onnx": MODEL, "card.md": CARD})
    fetch(("team/fraud:1.4.0", digest_of(MODEL)), ("team/fraud:1.4.0#card.md", digest_of(CARD)))
    kinds = [path.split("/")[-2] if "/v2/" in path else "token" for path in site.paths()]
    assert kinds == ["manifests", "token", "manifests", "blobs", "blobs"]


def test_a_layer_with_another_digest_is_refused_before_it_is_downloaded(site, fetch):
    site.push({"model.onnx": MODEL})
    line = refused(
        fetch, ("team/fraud:1.4.0#model.onnx", digest_of(b"old")), status=Exit.WRONG_DIGEST
    )
    assert (
        f"digest is wrong; got model.onnx {digest_of(MODEL)}; allowed {digest_of(b'old')}" in line
    )
    assert site.paths() == ["/v2/team/fraud/manifests/1.4.0"]


def test_bytes_that_are_not_those_of_their_digest_are_refused(site, fetch):
    site.push({"model.onnx": MODEL})
    site.answers[f"/v2/team/fraud/blobs/{digest_of(MODEL)}"] = MODEL[:-1] + b"?"
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)), status=Exit.WRONG_DIGEST)
    assert f"allowed {digest_of(MODEL)}" in line


def test_a_manifest_that_is_not_the_pinned_one_is_refused(site, fetch):
    pinned = site.push({"model.onnx": MODEL})
    site.answers[f"/v2/team/fraud/manifests/{pinned}"] += b" "
    line = refused(fetch, (f"team/fraud@{pinned}", digest_of(MODEL)), status=Exit.WRONG_DIGEST)
    assert "the manifest's digest is wrong; got sha256:" in line
    assert f"allowed {pinned}" in line
    assert not any("blobs" in path for path in site.paths())


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (
            {"mediaType": INDEX, "manifests": []},
            "an index of several manifests; allowed the digest",
        ),
        ({"manifests": [{}]}, "an index of several manifests"),
        ({}, "the manifest has no list of layers"),
        ({"layers": {"a": 1}}, "the manifest has no list of layers"),
        ({"layers": ["a"]}, "the manifest has no list of layers"),
        ({"layers": [{"annotations": 7}]}, "no layer has the title 'model.onnx'; got None"),
        ({"layers": []}, "no layer has the title 'model.onnx'; got no layer at all"),
        ([], "the manifest is no JSON object"),
        (b"<html>", "the manifest is not JSON"),
        (b"[" * 100_000, "the manifest is not JSON"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(site, fetch, manifest, said):
    site.push_manifest(manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode())
    assert said in refused(fetch, ("team/fraud:1.4.0#model.onnx", digest_of(MODEL)))


def test_what_a_stranger_wrote_into_a_manifest_is_cut_and_escaped(site, fetch):
    site.push({f"{i}\n\x1b[31m" + "x" * 500: bytes([i]) for i in range(9)})
    line = refused(fetch, ("team/fraud:1.4.0#model.onnx", digest_of(MODEL)))
    assert "\x1b" not in line
    assert "and 4 more" in line
    assert len(line) < 1500


def test_a_missing_tag_is_named(site, fetch):
    site.push({"model.onnx": MODEL})
    line = refused(fetch, ("team/fraud:2.0.0", digest_of(MODEL)))
    assert "the registry has no 2.0.0 in repository team/fraud (404)" in line


def test_a_registry_that_recovers_is_enough(site, fetch):
    site.push({"model.onnx": MODEL})
    site.statuses["/v2/team/fraud/manifests/1.4.0"] = 503
    assert "server answered 503" in refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)))
    assert len(site.requests) == 4


@pytest.mark.parametrize("announced", [True, False])
def test_a_layer_over_the_cap_is_refused(site, fetch, announced):
    content = b"x" * 10_000_001
    size = {} if announced else {"size": "unknown"}
    site.push({"model.onnx": content}, **size)
    assert "too large; got at least" in refused(fetch, ("team/fraud:1.4.0", digest_of(content)))


def test_a_manifest_over_the_cap_is_refused(site, fetch):
    site.push_manifest(b" " * (registry_module.MAX_MANIFEST + 1))
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)))
    assert "the manifest is too large; allowed 4194304 bytes" in line


def test_a_manifest_that_trickles_does_not_hold_the_fetcher(site, fetch):
    site.push({"model.onnx": MODEL})
    clock = itertools.count(0, web.SMALL_SECONDS + 1)
    access = Access(
        timeout=5.0, resolver=lambda _host, _port: ["127.0.0.1"], clock=lambda: next(clock)
    )
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)), access=access)
    assert "the manifest took more than 60 s" in line


# Tokens


def test_an_anonymous_token_is_asked_for_where_the_registry_says_for_pulling_only(site, fetch):
    wants_tokens(site)
    site.push({"model.onnx": MODEL})
    fetch(("team/fraud:1.4.0", digest_of(MODEL)))
    asked = next(path for path in site.paths() if path.startswith("/token"))
    assert asked == "/token?scope=repository%3Ateam%2Ffraud%3Apull&service=registry"
    assert site.requests[-1] == (f"/v2/team/fraud/blobs/{digest_of(MODEL)}", "first")


def test_a_token_that_expired_is_replaced(site, fetch):
    wants_tokens(site)
    site.push({"model.onnx": MODEL})
    access = Access(timeout=5.0, resolver=lambda _host, _port: ["127.0.0.1"])
    access.proofs[f"http://{site.host}/v2/team/fraud/"] = "Bearer stale"
    fetch(("team/fraud:1.4.0", digest_of(MODEL)), access=access)
    assert [bearer for _, bearer in site.requests] == ["stale", "", "first", "first"]


def test_a_private_repository_is_called_one(site, fetch):
    wants_tokens(site)
    site.push({"model.onnx": MODEL})
    site.answers["/token"] = b'{"access_token": "worthless"}'
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)))
    assert "the registry refuses an anonymous pull (401): the repository is private" in line


@pytest.mark.parametrize(
    ("challenge", "answer", "said"),
    [
        (
            'Basic realm="registry"',
            None,
            "a user and password; allowed a Secret for it in serving.",
        ),
        ('Bearer realm=""', None, "the registry wants a user and password"),
        ('Bearer realm="file:///etc/passwd"', None, "address must be http"),
        (None, b"{}", "gave no token"),
        (None, b'{"token": 7}', "gave no token"),
        (None, b'{"token": "a\\r\\nHost: evil"}', "gave no token"),
        (None, b"<html>", "the token is not JSON"),
        (None, b" " * 70_000, "the token is too large"),
    ],
)
def test_a_challenge_or_a_token_that_makes_no_sense_ends_in_a_line(
    site, fetch, challenge, answer, said
):
    wants_tokens(site)
    site.challenge = challenge or site.challenge
    if answer is not None:
        site.answers["/token"] = answer
    site.push({"model.onnx": MODEL})
    assert said in refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)))


# Pull secrets, as `kubectl create secret docker-registry` makes them


def basic(user):
    return base64.b64encode(f"{user}:secret".encode()).decode()


@dataclass
class Vault:
    """Pull secrets as the pod mounts them."""

    folder: Path

    def put(self, name, content):
        file = self.folder / name / "config.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps({"auths": content}))


@pytest.fixture
def vault(tmp_path):
    return Vault(tmp_path / "pull-secrets")


def pull(secure, vault, fetch, site):
    """Pull from the registry with TLS, as a pod that has these secrets."""
    site.port = secure.registry.port
    access = dataclasses.replace(secure.access, secrets=vault.folder)
    return fetch(("team/fraud:1.4.0", digest_of(MODEL)), scheme="oci", access=access)


def test_the_password_of_a_pull_secret_buys_a_token(secure, vault, fetch, site):
    registry = secure.registry
    wants_tokens(registry, realm=f"https://{registry.host}/token")
    registry.push({"model.onnx": MODEL})
    vault.put("pull", {registry.host: {"auth": basic("ada")}})
    pull(secure, vault, fetch, site)
    told = {path.split("?")[0].split("/")[-2]: proof for path, proof in registry.requests}
    assert told == {"": f"Basic {basic('ada')}", "manifests": "first", "blobs": "first"}


def test_a_registry_without_tokens_is_told_the_password_itself(secure, vault, fetch, site):
    registry = secure.registry
    registry.challenge = 'Basic realm="private"'
    registry.tokens = [f"Basic {basic('ada')}"]
    registry.push({"model.onnx": MODEL})
    vault.put("pull", {f"https://{registry.host}/v2/": {"username": "ada", "password": "secret"}})
    pull(secure, vault, fetch, site)
    assert [proof for _, proof in registry.requests] == ["", *2 * registry.tokens]


def test_nobody_is_told_the_password_of_another_registry(secure, vault, fetch, site):
    registry, store = secure.registry, secure.store
    wants_tokens(registry, realm=f"https://{registry.host}/token")
    registry.push({"model.onnx": MODEL})
    entry = {"auth": basic("ada")}
    vault.put(
        "pull",
        {
            "registry.example": entry,
            f"cdn.example:{store.port}": entry,
            f"x{registry.host}": entry,
            f"{registry.host}/other": entry,
            f"{registry.host}/team/fra": entry,
        },
    )
    pull(secure, vault, fetch, site)
    assert {proof for _, proof in registry.requests} == {"", "first"}


def test_the_entry_with_the_longest_path_counts(secure, vault, fetch, site):
    registry = secure.registry
    registry.challenge = "Basic realm=x"
    registry.tokens = [f"Basic {basic('of-fraud')}"]
    registry.push({"model.onnx": MODEL})
    vault.put("a", {registry.host: {"auth": basic("of-all")}})
    vault.put("b", {f"{registry.host}/team/fraud": {"auth": basic("of-fraud")}})
    vault.put("c", {f"{registry.host}/team": {"auth": basic("of-team")}})
    pull(secure, vault, fetch, site)


def test_a_wrong_password_is_called_one(secure, vault, fetch, site):
    registry = secure.registry
    registry.challenge = "Basic realm=x"
    registry.push({"model.onnx": MODEL})
    vault.put("pull", {registry.host: {"auth": basic("ada")}})
    with pytest.raises(FetchFailed, match=r"refuses the user of its pull secret \(401\)"):
        pull(secure, vault, fetch, site)


def test_a_password_is_not_sent_without_tls(site, vault, fetch):
    wants_tokens(site)
    site.push({"model.onnx": MODEL})
    vault.put("pull", {site.host: {"auth": basic("ada")}})
    access = Access(timeout=5.0, resolver=lambda _host, _port: ["127.0.0.1"], secrets=vault.folder)
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)), access=access)
    assert "a pull secret's password is not sent without TLS" in line
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"auths": []}',
        '{"auths": {"HOST": 7}}',
        '{"auths": {"HOST": {"auth": "not-base64!"}}}',
        '{"auths": {"HOST": {"auth": "bm9jb2xvbg=="}}}',
        '{"auths": {"HOST": {"username": "ada"}}}',
        "[" * 100_000,
    ],
)
def test_a_pull_secret_that_cannot_be_read_is_named_and_not_quoted(
    secure, vault, fetch, site, content
):
    registry = secure.registry
    wants_tokens(registry, realm=f"https://{registry.host}/token")
    registry.push({"model.onnx": MODEL})
    vault.put("pull", content.replace("HOST", registry.host))
    with pytest.raises(FetchFailed) as caught:
        pull(secure, vault, fetch, site)
    said = str(caught.value)
    assert said.endswith("pull secret pull holds no Docker configuration that can be read")


# Other hosts


def test_a_token_server_elsewhere_without_tls_is_not_asked(site, fetch):
    wants_tokens(site, realm="http://auth.example/token")
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)))
    assert "leads to another host without TLS; got 'auth.example'; allowed https" in line


@pytest.mark.parametrize(
    "address",
    ["10.0.0.7", "127.0.0.1", "fd00::7", "169.254.169.254", "64:ff9b::10.0.0.7", "2002:a00:7::1"],
)
def test_a_registry_leads_nobody_to_an_address_inside_the_cluster(site, fetch, address):
    wants_tokens(site, realm="https://auth.example/token")
    dialled = []

    def dial(where, timeout):
        dialled.append(where[0])
        return socket.create_connection(("127.0.0.1", where[1]), timeout)

    def resolver(host, _port):
        return [address] if host == "auth.example" else ["127.0.0.2"]

    access = Access(timeout=5.0, resolver=resolver, dial=dial)
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)), access=access)
    assert "auth.example: " in line
    assert address in line
    assert set(dialled) == {"127.0.0.2"}


def test_a_manifest_comes_from_the_registry_itself(site, fetch):
    site.push({"model.onnx": MODEL})
    site.redirects["/v2/team/fraud/manifests/1.4.0"] = "https://cdn.example/m"
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)))
    assert "redirect to another host; got 'cdn.example'" in line


def test_a_blob_on_the_same_host_may_lie_on_another_path(site, fetch):
    site.push({"model.onnx": MODEL})
    blob = f"/v2/team/fraud/blobs/{digest_of(MODEL)}"
    site.answers["/storage/x"] = site.answers.pop(blob)
    site.redirects[blob] = "/storage/x"
    fetch(("team/fraud:1.4.0", digest_of(MODEL)))


@dataclass
class Secure:
    """A registry and a store of blobs with TLS, and the access that reaches them."""

    registry: Registry
    store: Registry
    access: Access


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Key and certificate of registry.example and cdn.example in one file, made by openssl."""
    folder = tmp_path_factory.mktemp("tls")
    file = folder / "both.pem"
    names = "subjectAltName=DNS:registry.example,DNS:cdn.example"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-subj", "/CN=test", "-addext", names,
         "-keyout", str(folder / "key"), "-out", str(folder / "crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_bytes((folder / "key").read_bytes() + (folder / "crt").read_bytes())
    return file


@pytest.fixture
def secure(certificate):
    """The registry is inside, the store has a public address; both are really on loopback."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    with running(Registry(), server) as registry, running(Registry(), server) as store:
        access = Access(
            timeout=5.0,
            resolver=lambda host, _port: [PUBLIC if host == "cdn.example" else "10.0.0.7"],
            dial=lambda where, timeout: socket.create_connection(("127.0.0.1", where[1]), timeout),
            tls=lambda: ssl.create_default_context(cafile=str(certificate)),
        )
        yield Secure(registry, store, access)


def test_a_blob_may_be_redirected_to_a_public_host_which_never_sees_the_token(secure, fetch, site):
    registry, store = secure.registry, secure.store
    site.port = registry.port  # what the addresses are made of
    wants_tokens(registry, realm=f"https://{registry.host}/token")
    registry.push({"model.onnx": MODEL})
    blob = f"/v2/team/fraud/blobs/{digest_of(MODEL)}"
    store.answers["/somewhere"] = registry.answers.pop(blob)
    registry.redirects[blob] = f"https://cdn.example:{store.port}/somewhere"
    fetch(("team/fraud:1.4.0", digest_of(MODEL)), scheme="oci", access=secure.access)
    assert registry.requests[-1] == (blob, "first")
    assert store.requests == [("/somewhere", "")]


def test_a_registry_with_tls_sends_nobody_to_plain_http(secure, fetch, site):
    registry = secure.registry
    site.port = registry.port
    registry.push({"model.onnx": MODEL})
    blob = f"/v2/team/fraud/blobs/{digest_of(MODEL)}"
    registry.redirects[blob] = f"http://{registry.host}/plain"
    line = refused(
        fetch, ("team/fraud:1.4.0", digest_of(MODEL)), scheme="oci", access=secure.access
    )
    assert "redirect from https to http" in line
    wants_tokens(registry, realm=f"http://{registry.host}/token")
    secure.access.manifests.clear()
    line = refused(
        fetch, ("team/fraud:1.4.0", digest_of(MODEL)), scheme="oci", access=secure.access
    )
    assert "token server has no TLS" in line


def test_a_registry_that_proves_no_name_is_not_believed(secure, fetch, site):
    site.port = secure.registry.port
    stranger = Access(timeout=5.0, resolver=secure.access.resolver, dial=secure.access.dial)
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)), scheme="oci", access=stranger)
    assert "CERTIFICATE_VERIFY_FAILED" in line


def test_a_registry_without_tls_is_asked_only_where_that_is_allowed(site, fetch):
    line = refused(fetch, ("team/fraud:1.4.0", digest_of(MODEL)), access=Access(allow_http=False))
    assert "plain http is not allowed here" in line
    assert site.requests == []
