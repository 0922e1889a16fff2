"""Where an artifact may lie: the forms of its address, and what each part of it means.

Standard library only: the init container that fetches reads it too. The expressions have no
backslash, so that the same text serves Python, CEL and a schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_OBJECT = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
# A part never begins with a dot: neither `..` nor hidden files, nor what has to be decoded first.
_PART = "[A-Za-z0-9_][-A-Za-z0-9._=+@,~]*"
_PATH = f"{_PART}(/{_PART})*"
_NAME = "[a-z0-9][-a-z0-9._]*"

IMAGE_FORM = (
    f"oci([+]http)?://{_OBJECT}(:[0-9]{{1,5}})?/{_NAME}(/{_NAME})*"
    f"(:[A-Za-z0-9_][-A-Za-z0-9._]{{0,127}}|@sha256:[0-9a-f]{{64}})(#{_PATH})?"
)
IMAGE_HINT = "oci://HOST/REPOSITORY:TAG or oci://HOST/REPOSITORY@sha256:<64 hex>, each with #FILE"
CLAIM_FORM = f"pvc://{_OBJECT}/{_PATH}"
CLAIM_HINT = "pvc://CLAIM/PATH, no part of which is empty or begins with a dot"
KEY_FORM = f"configmap://{_OBJECT}/[A-Za-z0-9_][-A-Za-z0-9._]*"
KEY_HINT = "configmap://NAME/KEY"

CLAIM = "pvc"
CONFIG_MAP = "configmap"
FOLDERS = {
    CONFIG_MAP: PurePosixPath("/var/run/modelhandoff/configmaps"),
    CLAIM: PurePosixPath("/var/run/modelhandoff/claims"),
}
"""Where the fetching container has its volumes: below, one folder for each name."""


PULL_SECRETS = PurePosixPath("/var/run/modelhandoff/pull-secrets")
"""The same for the Secrets that a registry is asked with."""
LOGIN_FILE = "config.json"


@dataclass(frozen=True, slots=True)
class Reference:
    """A blob of a registry.

    Attributes:
        plain: whether the registry is asked over http.
        host: host, or host:port.
        version: a tag, or the manifest's digest: ``sha256:`` and 64 hexadecimal digits.
        title: of the layer, "" when the digest alone chooses it.
    """

    plain: bool
    host: str
    repository: str
    version: str
    title: str


def parse_reference(uri: str) -> Reference | None:
    """The parts of an ``oci://`` address; ``None`` for anything else."""
    if re.fullmatch(IMAGE_FORM, uri) is None:
        return None
    scheme, _, rest = uri.partition("://")
    address, _, title = rest.partition("#")
    host, _, path = address.partition("/")
    repository, _, version = path.partition("@" if "@" in path else ":")
    return Reference(scheme == "oci+http", host, repository, version, title)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A file of a volume that the pod mounts.

    Attributes:
        scheme: ``CLAIM`` or ``CONFIG_MAP``.
        name: of the claim or ConfigMap.
        path: below it.
    """

    scheme: str
    name: str
    path: str


def parse_mounted(uri: str) -> Mounted | None:
    """The parts of a ``pvc://`` or ``configmap://`` address; ``None`` for anything else."""
    if re.fullmatch(f"{CLAIM_FORM}|{KEY_FORM}", uri) is None:
        return None
    scheme, _, rest = uri.partition("://")
    name, _, path = rest.partition("/")
    return Mounted(scheme, name, path)


def last_part(uri: str) -> str:
    """What a person would call the file: the last part of the path, the title of a layer."""
    reference = parse_reference(uri)
    if reference is not None:
        return (reference.title or reference.repository).rsplit("/", 1)[-1]
    _, _, path = uri.split("#", 1)[0].split("?", 1)[0].partition("://")
    return path.rsplit("/", 1)[-1] if "/" in path else ""


def without_tls(uri: str) -> bool:
    """Whether an address is asked over plain http."""
    return uri.startswith(("http://", "oci+http://"))
