"""A certificate authority and its certificates, by openssl (3.0 or newer).

Elliptic-curve keys: ten RSA keys would take longer than the API server needs to start.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

_CONFIG = """\
[req]
distinguished_name = dn
prompt = no
[dn]
"""
_CURVE = ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")
_DAYS = "30"


@dataclass(frozen=True)
class Subject:
    """What a certificate says about its owner.

    `name` becomes the user (CN), `groups` the groups (O) that Kubernetes sees;
    `hosts` (names or addresses) make it a server's certificate as well.
    """

    name: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def subject_argument(subject: Subject) -> str:
    """The `-subj` of openssl, with `/`, `+` and backslash in values escaped.

    Raises:
        ClusterError: a value that no certificate can carry.
    """
    parts = [("O", g) for g in subject.groups] + [("CN", subject.name)]
    for key, value in parts:
        if not value or len(value) > 64 or any(ord(c) < 32 for c in value):
            raise ClusterError(
                f"{'group' if key == 'O' else 'user'}: not usable in a certificate; "
                f"got {value[:80]!r}; allowed 1 to 64 printable characters"
            )

    def escape(value: str) -> str:
        return "".join("\\" + c if c in "/+\\" else c for c in value)

    return "".join(f"/{key}={escape(value)}" for key, value in parts)


def extensions(subject: Subject) -> list[str]:
    """The `-addext` values of a certificate that the authority signs."""
    usage = "clientAuth" + (",serverAuth" if subject.hosts else "")
    out = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={usage}",
        "subjectKeyIdentifier=hash",
        "authorityKeyIdentifier=keyid",
    ]
    if subject.hosts:
        names = (("IP:" if _is_address(h) else "DNS:") + h for h in subject.hosts)
        out.append("subjectAltName=" + ",".join(names))
    return out


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def request_arguments(
    directory: Path, stem: str, subject: Subject, *, ca: bool = False
) -> list[str]:
    """The whole openssl command that makes `stem.key` and `stem.crt` in one process."""
    new = ["openssl", "req", "-x509", "-config", str(directory / "openssl.cnf"), "-nodes"]
    new += ["-newkey", *_CURVE, "-days", _DAYS]
    new += ["-keyout", str(directory / f"{stem}.key"), "-out", str(directory / f"{stem}.crt")]
    new += ["-subj", subject_argument(subject)]
    if ca:
        exts = [
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
            "subjectKeyIdentifier=hash",
        ]
    else:
        new += ["-CA", str(directory / "ca.crt"), "-CAkey", str(directory / "ca.key")]
        exts = extensions(subject)
    for ext in exts:
        new += ["-addext", ext]
    return new


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ClusterError("openssl is missing; run: python -m e2e.cluster prepare") from None
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-400:]}")


def signing_request(key: Path, subject: Subject) -> str:
    """Make a private key and a request for a certificate, for an authority elsewhere; PEM."""
    request = key.with_suffix(".csr")
    config = key.with_suffix(".cnf")
    config.write_text(_CONFIG)
    command = ["openssl", "req", "-new", "-config", str(config), "-nodes", "-newkey", *_CURVE]
    command += ["-keyout", str(key), "-out", str(request), "-subj", subject_argument(subject)]
    _run(command)
    return request.read_text()


class Authority:
    """A certificate authority in `directory`; makes it when it is not there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if self.ca.exists():
            return
        directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        (directory / "openssl.cnf").write_text(_CONFIG)
        _run(request_arguments(directory, "ca", Subject("modelhandoff test CA"), ca=True))
        key, public = str(directory / "sa.key"), str(directory / "sa.pub")
        _run(["openssl", "genpkey", "-algorithm", *_CURVE, "-out", key])
        _run(["openssl", "pkey", "-in", key, "-pubout", "-out", public])

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    def cert(self, stem: str) -> Path:
        return self.directory / f"{stem}.crt"

    def key(self, stem: str) -> Path:
        return self.directory / f"{stem}.key"

    def issue(self, stem: str, subject: Subject) -> tuple[Path, Path]:
        """Make `stem.crt` and `stem.key`; returns both paths."""
        _run(request_arguments(self.directory, stem, subject))
        return self.cert(stem), self.key(stem)

    def issue_all(self, wanted: Iterable[tuple[str, Subject]]) -> None:
        """Make several at once, as many as there are processors."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda pair: self.issue(*pair), wanted):
                pass
