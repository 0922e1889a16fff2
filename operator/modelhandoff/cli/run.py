"""``modelhandoff run``: the operator itself, as its Deployment starts it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from modelhandoff.errors import InvalidInputError


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("run")(run)


def run(  # noqa: PLR0917 - typer: one parameter per option
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="Namespace to serve; repeat it. The whole cluster when not given."),
    ] = None,
    watch_nodes: Annotated[
        bool | None, typer.Option(help="Read GPU product names of nodes (cluster-wide right).")
    ] = None,
    fetch_image: Annotated[
        str | None, typer.Option(help="Image that fetches artifacts and runs warm-ups.")
    ] = None,
    verify_image: Annotated[
        str | None, typer.Option(help="Image of verification Jobs; the one above by default.")
    ] = None,
    image_pull_policy: Annotated[
        str | None, typer.Option(help="Pull policy of these images.")
    ] = None,
    prometheus_url: Annotated[
        str | None, typer.Option(help="Prometheus to read when no policy names a source.")
    ] = None,
    scrape_interval: Annotated[
        float | None, typer.Option(help="Seconds between two scrapes of a model server.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Handoffs looked at in parallel.")] = None,
    resync: Annotated[
        float | None, typer.Option(help="Seconds after which every handoff is looked at anyway.")
    ] = None,
    lease_namespace: Annotated[
        str | None, typer.Option(help="Namespace of the leader lease; the pod's own by default.")
    ] = None,
    lease_name: Annotated[str | None, typer.Option(help="Name of the leader lease.")] = None,
    lease_duration: Annotated[
        float | None, typer.Option(help="Seconds others wait for a silent leader.")
    ] = None,
    renew_deadline: Annotated[
        float | None, typer.Option(help="Seconds a leader writes after its last renewal.")
    ] = None,
    retry_period: Annotated[
        float | None, typer.Option(help="Seconds between two renewals.")
    ] = None,
    identity: Annotated[
        str | None, typer.Option(help="Name of this process in the lease; the pod's by default.")
    ] = None,
    listen_host: Annotated[
        str | None, typer.Option(help="Address of /healthz, /readyz and /metrics.")
    ] = None,
    listen_port: Annotated[int | None, typer.Option(help="Port of the same.")] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
    kubeconfig: Annotated[
        str, typer.Option(help="Kubeconfig file; the pod's service account by default.")
    ] = "",
    context: Annotated[str, typer.Option(help="Context of the kubeconfig.")] = "",
) -> None:
    """Run the operator until it is told to stop (exit code 0) or loses its lease (1).

    Every option can be given as MODELHANDOFF_<OPTION> in the environment, e.g.
    MODELHANDOFF_PROMETHEUS_URL or MODELHANDOFF_NAMESPACES=team-a,team-b.
    """
    # Not at the top: the operator's libraries would slow down every other command.
    from modelhandoff.controller.main import main
    from modelhandoff.controller.settings import load

    flags = {
        "namespaces": tuple(namespace or ()),
        "watch_nodes": watch_nodes,
        "fetch_image": fetch_image,
        "verify_image": verify_image,
        "image_pull_policy": image_pull_policy,
        "prometheus_url": prometheus_url,
        "scrape_interval": scrape_interval,
        "workers": workers,
        "resync": resync,
        "lease_namespace": lease_namespace,
        "lease_name": lease_name,
        "lease_duration": lease_duration,
        "renew_deadline": renew_deadline,
        "retry_period": retry_period,
        "identity": identity,
        "listen_host": listen_host,
        "listen_port": listen_port,
        "log_level": log_level,
    }
    try:
        settings = load(os.environ, flags)
    except InvalidInputError as error:
        typer.echo(f"modelhandoff run: {error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(main(settings, kubeconfig, context))
