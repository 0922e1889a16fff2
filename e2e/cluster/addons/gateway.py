"""Envoy Gateway from the Helm chart inside its Go module."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from e2e.cluster import build, paths
from e2e.cluster.access import Access
from e2e.cluster.errors import ClusterError

MODULE = "github.com/envoyproxy/gateway"
NAMESPACE = "envoy-gateway-system"


def values(template: str, image: str) -> str:
    """The chart's values: the module ships only a template of them.

    Args:
        template: content of `values.tmpl.yaml`.
        image: Envoy Gateway's image.

    Raises:
        ClusterError: the template has changed its shape.
    """
    filled = template.replace("${GatewayImagePullPolicy}", "IfNotPresent")
    filled = filled.replace("${GatewayImage}", image)
    if "${" in filled or image not in filled:
        raise ClusterError("Envoy Gateway's chart: values.tmpl.yaml has placeholders unknown here")
    return filled


# Quicker to ready than the chart's defaults; no webhook, since there is one node and no zones.
OVERRIDES = {
    "topologyInjector": {"enabled": False},
    "deployment": {"envoyGateway": {"readinessProbe": {"periodSeconds": 1}}},
}


def prepare_chart(folder: Path, image: str) -> Path:
    """A writable copy of the chart, with values; returns its folder."""
    go = build.find_go()
    if go is None:
        raise ClusterError("Go is missing; run: python -m e2e.cluster prepare")
    done = subprocess.run(
        [go, "mod", "download", "-json", MODULE],
        cwd=paths.go_dir(),
        env=build.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterError(
            f"go mod download {MODULE}: {(done.stdout + done.stderr).strip()[-400:]}"
        )
    source = Path(json.loads(done.stdout)["Dir"]) / "charts" / "gateway-helm"
    target = folder / "gateway-helm"
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    # It names the repositories of sub-charts that are already inside.
    (target / "Chart.lock").unlink(missing_ok=True)
    template = (target / "values.tmpl.yaml").read_text()
    (target / "values.yaml").write_text(values(template, image))
    return target


def install_controller(cluster: Access, chart: Path) -> None:
    """Install or upgrade the chart. The controller is not awaited: the Gateway tells."""
    overrides = chart.parent / "overrides.json"
    overrides.write_text(json.dumps(OVERRIDES))
    helm = build.binaries("stack").helm
    done = subprocess.run(
        [
            *(helm, "upgrade", "--install", "envoy-gateway", chart, f"--values={overrides}"),
            *("--namespace", NAMESPACE, "--create-namespace", "--wait=hookOnly", "--timeout=180s"),
        ],
        env={**cluster.environment(), "HELM_CACHE_HOME": str(chart.parent / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"helm upgrade --install envoy-gateway: {done.stderr.strip()[-800:]}")
