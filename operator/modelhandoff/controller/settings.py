"""What the platform decides about the operator process: flags and environment, checked once."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from modelhandoff.errors import InvalidInputError

PREFIX = "MODELHANDOFF_"
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class Settings(BaseModel):
    """Settings of one operator process; every field is a flag and ``MODELHANDOFF_<FIELD>``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    namespaces: tuple[DnsLabel, ...] = Field(
        default=(), description="namespaces to serve; none given means the whole cluster"
    )
    watch_nodes: bool = Field(
        default=False, description="read GPU product names of nodes (needs a cluster-wide right)"
    )
    fetch_image: str = Field(
        default="modelhandoff/operator:latest",
        description="image of the init container that fetches artifacts, and of warm-up Jobs",
    )
    verify_image: str = Field(
        default="", description="image of verification Jobs; that of the fetcher when not given"
    )
    image_pull_policy: Annotated[
        str, StringConstraints(pattern="^(Always|IfNotPresent|Never)$")
    ] = "IfNotPresent"
    prometheus_url: str = Field(
        default="",
        description="Prometheus to read when no policy names a metric source",
    )
    scrape_interval: float = Field(
        default=15.0, gt=0, le=300, description="seconds between two scrapes of a model server"
    )
    prometheus_timeout: float = Field(default=10.0, gt=0, le=120)
    workers: int = Field(default=64, ge=1, le=1024, description="handoffs looked at in parallel")
    requests_in_flight: int = Field(default=16, ge=3, le=256)
    resync: float = Field(
        default=600.0, ge=10, description="seconds after which every handoff is looked at anyway"
    )
    report_interval: float = Field(
        default=60.0, ge=0, description="seconds between two status writes that only move numbers"
    )
    request_timeout: float = Field(default=30.0, gt=0, le=300)
    lease_namespace: str = ""
    lease_name: DnsLabel = "modelhandoff"
    lease_duration: float = Field(default=15.0, gt=0)
    renew_deadline: float = Field(default=10.0, gt=0)
    retry_period: float = Field(default=2.0, gt=0)
    identity: str = ""
    listen_host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the pod
    listen_port: int = Field(default=8080, ge=0, le=65535)
    log_level: Annotated[str, StringConstraints(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    @property
    def cluster_wide(self) -> bool:
        """Whether every namespace is served."""
        return not self.namespaces

    @property
    def lag(self) -> float:
        """Seconds after the end of an interval before its counters can be trusted to be there.

        Two scrapes, so that one may be missed, and a little for Prometheus to store them.
        """
        return 2 * self.scrape_interval + 2.0


def load(environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Settings from flags, then the environment, then defaults.

    Raises:
        InvalidInputError: naming the flag or variable.
    """
    given: dict[str, Any] = {}
    where: dict[str, str] = {}
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        if flags.get(name) not in (None, (), []):
            given[name], where[name] = flags[name], "--" + name.replace("_", "-")
        elif environment.get(variable):
            given[name], where[name] = environment[variable], variable
    if isinstance(given.get("namespaces"), str):
        given["namespaces"] = tuple(
            filter(None, (n.strip() for n in given["namespaces"].split(",")))
        )
    given.setdefault("lease_namespace", own_namespace(environment))
    given.setdefault("identity", own_identity(environment))
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise InvalidInputError(
            where.get(name, name), first["msg"], first["input"], _allowed(name)
        ) from None
    if not settings.retry_period < settings.renew_deadline < settings.lease_duration:
        raise InvalidInputError(
            where.get("renew_deadline", "renew_deadline"),
            "lies outside the retry period and the lease duration",
            settings.renew_deadline,
            f"more than {settings.retry_period:g} and less than {settings.lease_duration:g}",
        )
    return settings


def own_namespace(environment: Mapping[str, str]) -> str:
    """Where the lease lies: the pod's namespace, or ``default`` outside a cluster."""
    if environment.get("POD_NAMESPACE"):
        return environment["POD_NAMESPACE"]
    try:
        return SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return "default"


def own_identity(environment: Mapping[str, str]) -> str:
    """Who holds the lease.

    A pod's name outlives its container: one that was killed and restarted in the same pod takes
    its own lease back at once. Outside a pod every process is somebody else.
    """
    pod = environment.get("POD_NAME")
    return pod or f"{socket.gethostname()}-{os.getpid()}"


def _allowed(name: str) -> str:
    field = Settings.model_fields.get(name)
    return (field.description if field is not None else None) or f"a legal {name}"
