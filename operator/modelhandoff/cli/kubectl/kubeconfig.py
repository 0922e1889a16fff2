"""Which cluster, as whom, in which namespace: the user's kubeconfig.

A certificate or a token is read here in a few milliseconds. Everything else a kubeconfig can
say (exec plugins, OIDC, proxies, several files, the service account of a pod) is left to the
official client, whose import alone takes longer than ``get`` may.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelhandoff.cli.kubectl.problem import Trouble
from modelhandoff.errors import cut

if TYPE_CHECKING:
    import urllib3

_PLAIN_USER = frozenset(
    {
        "client-certificate",
        "client-certificate-data",
        "client-key",
        "client-key-data",
        "token",
        "tokenFile",
    }
)
_PLAIN_CLUSTER = frozenset(
    {
        "server",
        "certificate-authority",
        "certificate-authority-data",
        "insecure-skip-tls-verify",
        "extensions",
        "disable-compression",
    }
)
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")


@dataclass(frozen=True, slots=True)
class Target:
    """What the command line says about where to go; empty means: as the kubeconfig says."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """A way to the API server.

    Attributes:
        where: how messages call it: the context, or the address.
        headers: the credentials that travel in a header, fresh for every request.
    """

    server: str
    where: str
    namespace: str
    pool: urllib3.PoolManager
    headers: Callable[[], Mapping[str, str]]


def login(target: Target) -> Login:
    """The login that kubectl would use.

    Raises:
        Trouble: there is no kubeconfig, or it does not say enough.
    """
    written = target.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = [Path(part).expanduser() for part in written.split(os.pathsep) if part]
    found = [path for path in paths if path.exists()]
    if not found:
        if not target.kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
            return _in_cluster(target)
        raise Trouble(
            f"kubeconfig: there is none; got {written}; "
            "allowed a file named by --kubeconfig, KUBECONFIG or ~/.kube/config"
        )
    config = _read(found[0])
    if len(found) == 1:
        context, cluster, user = _current(config, target.context, found[0])
        proxied = any(os.environ.get(name) for name in _PROXIES)
        if set(user) <= _PLAIN_USER and set(cluster) <= _PLAIN_CLUSTER and not proxied:
            return _plain(target, context, cluster, user, found[0].parent)
    return _official(target, found)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - safe
    except (OSError, UnicodeDecodeError) as failure:
        raise Trouble(f"{path}: cannot be read: {cut(failure)}") from None
    except yaml.YAMLError as failure:
        told = getattr(failure, "problem", None) or "broken"
        raise Trouble(f"{path}: not YAML; got {cut(told)}; allowed a kubeconfig") from None
    if not isinstance(config, dict):
        raise Trouble(f"{path}: not a kubeconfig; got {cut(config)}; allowed an object")
    return config


def _current(
    config: Mapping[str, Any], wanted: str, path: Path
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The context (with its name under ``name``), its cluster and its user."""
    contexts = _named(config, "contexts", "context")
    name = wanted or str(config.get("current-context") or "")
    known = ", ".join(sorted(contexts)) or "none, the file has no contexts"
    if not name:
        raise Trouble(f"{path}: no current-context; allowed {known}; choose with --context")
    if name not in contexts:
        raise Trouble(f"{path}: no such context; got {cut(name)}; allowed {known}")
    context = contexts[name]
    found = []
    for field, one in (("clusters", "cluster"), ("users", "user")):
        known_ones = _named(config, field, one)
        if context.get(one) not in known_ones:
            allowed = ", ".join(sorted(known_ones)) or f"a name from {field}"
            raise Trouble(
                f"{path}: contexts.{name}.{one}: no such {one}; "
                f"got {cut(context.get(one) or 'nothing')}; allowed {allowed}"
            )
        found.append(known_ones[context[one]])
    if not found[0].get("server"):
        raise Trouble(f"{path}: clusters.{context['cluster']}.server: missing; allowed https://…")
    return {**context, "name": name}, found[0], found[1]


def _named(config: Mapping[str, Any], field: str, inner: str) -> dict[str, dict[str, Any]]:
    return {
        str(entry["name"]): dict(entry.get(inner) or {})
        for entry in config.get(field) or ()
        if isinstance(entry, dict) and "name" in entry and isinstance(entry.get(inner), dict | None)
    }


def _plain(
    target: Target,
    context: Mapping[str, Any],
    cluster: Mapping[str, Any],
    user: Mapping[str, Any],
    base: Path,
) -> Login:
    import urllib3
    from urllib3.util.ssl_ import create_urllib3_context

    tls = None
    if str(cluster["server"]).startswith("https:"):
        tls = create_urllib3_context()
        try:
            _trust(tls, cluster, base)
            _identify(tls, user, base)
        except (OSError, ssl.SSLError, ValueError, binascii.Error) as failure:
            raise Trouble(
                f"kubeconfig: context {context['name']}: certificate or key cannot be used: "
                f"{cut(failure, 160)}"
            ) from None

    def headers() -> Mapping[str, str]:
        token = str(user.get("token") or "")
        if user.get("tokenFile"):
            token = (base / str(user["tokenFile"])).read_text(encoding="utf-8").strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    return Login(
        server=str(cluster["server"]).rstrip("/"),
        where=f"context {context['name']}",
        namespace=target.namespace or str(context.get("namespace") or "default"),
        pool=urllib3.PoolManager(ssl_context=tls, maxsize=4),
        headers=headers,
    )


def _trust(tls: ssl.SSLContext, cluster: Mapping[str, Any], base: Path) -> None:
    if cluster.get("insecure-skip-tls-verify"):
        import urllib3

        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    elif cluster.get("certificate-authority-data"):
        authority = base64.b64decode(cluster["certificate-authority-data"], validate=True)
        tls.load_verify_locations(cadata=authority.decode())
    elif cluster.get("certificate-authority"):
        tls.load_verify_locations(cafile=str(base / str(cluster["certificate-authority"])))
    else:
        tls.load_default_certs()


def _identify(tls: ssl.SSLContext, user: Mapping[str, Any], base: Path) -> None:
    certificate, key = (_bytes(user, name, base) for name in ("client-certificate", "client-key"))
    if certificate is None or key is None:
        return
    # OpenSSL reads keys from files only: two that live as long as this call, for this user alone.
    with tempfile.TemporaryDirectory(prefix="kubectl-handoff-") as folder:
        files = []
        for name, content in (("certificate", certificate), ("key", key)):
            file = Path(folder, name)
            file.touch(mode=0o600)
            file.write_bytes(content)
            files.append(str(file))
        tls.load_cert_chain(*files)


def _bytes(user: Mapping[str, Any], name: str, base: Path) -> bytes | None:
    if user.get(f"{name}-data"):
        return base64.b64decode(user[f"{name}-data"], validate=True)
    if user.get(name):
        return (base / str(user[name])).read_bytes()
    return None


def _official(target: Target, paths: list[Path]) -> Login:
    from kubernetes import config

    try:
        found = config.new_client_from_config(  # type: ignore[no-untyped-call]
            config_file=os.pathsep.join(str(path) for path in paths),
            context=target.context or None,
        )
        contexts, current = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
            config_file=os.pathsep.join(str(path) for path in paths)
        )
    except (config.ConfigException, OSError, ValueError) as failure:
        raise Trouble(f"kubeconfig: no way to log in: {cut(failure, 200)}") from None
    name = target.context or current["name"]
    context = next((c.get("context") or {} for c in contexts if c["name"] == name), {})
    return _wrapped(found, f"context {name}", target.namespace or context.get("namespace"))


def _in_cluster(target: Target) -> Login:
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        config.load_incluster_config(  # type: ignore[no-untyped-call]
            client_configuration=configuration
        )
    except config.ConfigException as failure:
        raise Trouble(f"service account: no way to log in: {cut(failure, 200)}") from None
    namespace = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    own = namespace.read_text(encoding="utf-8").strip() if namespace.exists() else ""
    return _wrapped(client.ApiClient(configuration), "this pod's cluster", target.namespace or own)


def _wrapped(api_client: Any, where: str, namespace: str | None) -> Login:
    configuration = api_client.configuration

    def headers() -> Mapping[str, str]:
        return {
            setting["key"]: setting["value"]
            for setting in configuration.auth_settings().values()
            if setting["in"] == "header" and setting["value"]
        }

    return Login(
        server=str(configuration.host).rstrip("/"),
        where=where,
        namespace=namespace or "default",
        pool=api_client.rest_client.pool_manager,
        headers=headers,
    )
