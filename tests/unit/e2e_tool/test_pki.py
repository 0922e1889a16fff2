"""What the certificates are asked to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster.errors import ClusterError
from e2e.cluster.pki import Subject, extensions, request_arguments, subject_argument


def test_groups_and_user_become_what_kubernetes_reads() -> None:
    subject = Subject("ada", ("reviewers", "ml"))
    assert subject_argument(subject) == "/O=reviewers/O=ml/CN=ada"


def test_separators_in_names_cannot_add_fields() -> None:
    assert subject_argument(Subject("ada/O=system:masters")) == "/CN=ada\\/O=system:masters"
    assert subject_argument(Subject("a+b\\c")) == "/CN=a\\+b\\\\c"


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_names_that_no_certificate_carries_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match=r"^user: .*allowed 1 to 64 printable characters$"):
        subject_argument(Subject(name))


def test_a_bad_group_is_called_a_group() -> None:
    with pytest.raises(ClusterError, match=r"^group: "):
        subject_argument(Subject("ada", ("",)))


def test_only_servers_may_serve() -> None:
    assert "extendedKeyUsage=clientAuth" in extensions(Subject("ada"))
    server = extensions(Subject("api", hosts=("localhost", "10.0.0.1", "::1")))
    assert "extendedKeyUsage=clientAuth,serverAuth" in server
    assert "subjectAltName=DNS:localhost,IP:10.0.0.1,IP:::1" in server


def test_the_authority_signs_itself_and_nobody_else_may_sign() -> None:
    folder = Path("/pki")
    authority = request_arguments(folder, "ca", Subject("CA"), ca=True)
    assert "-CA" not in authority
    assert "basicConstraints=critical,CA:TRUE" in authority
    leaf = request_arguments(folder, "admin", Subject("admin"))
    assert leaf[leaf.index("-CA") + 1] == "/pki/ca.crt"
    assert "basicConstraints=critical,CA:FALSE" in leaf
    assert leaf[leaf.index("-out") + 1] == "/pki/admin.crt"
