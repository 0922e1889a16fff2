# The two commands of the README are `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SILENT:
PY := .venv/bin/python

.PHONY: help setup demo test check component e2e bench calibrate crds clean

help: ## What there is
	grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/^([a-z0-9-]+):.*## /\1|/' | awk -F'|' '{printf "  %-12s %s\n", $$1, $$2}'

.venv/.ready: pyproject.toml uv.lock .ci/bootstrap
	.ci/bootstrap
	touch $@

setup: .venv/.ready ## The virtual environment, locked

demo: setup ## One good model promoted, three bad ones rolled back, live, on a real cluster
	$(PY) -m e2e.demo

test: check component e2e ## Everything: check, the real API server, the real cluster

check: setup ## Format, lint, types, import contracts, unit and quick component tests (no cluster)
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/modelhandoff crds --check
	.venv/bin/modelhandoff crds --check --output charts/modelhandoff/crds
	.venv/bin/modelhandoff generate --check
	$(PY) -m pytest tests -q -m "not control_plane and not full_stack" -n 2

component: setup ## The tests that need a real API server or a real Prometheus
	$(PY) -m e2e.cluster prepare
	$(PY) -m e2e.cluster build
	$(PY) -m pytest tests -q -m control_plane

e2e: setup ## The full stack: nodes, gateway, Prometheus, live traffic
	$(PY) -m e2e.cluster prepare
	$(PY) -m e2e.cluster gc
	# Several kubelets and containerds together need more than the usual 128.
	[ "$$(id -u)" != 0 ] || sysctl -qw fs.inotify.max_user_instances=1024 || true
	$(PY) -m pytest e2e -q -m full_stack -n 2 --dist loadgroup

bench: setup ## The figures of docs/performance.md
	$(PY) -m e2e.bench

calibrate: setup ## Simulate the judgement engine and write docs/calibration.md
	$(PY) -m tests.calibration

crds: setup ## Write from the code: crds/, rules and dashboards of the chart, tables of docs
	.venv/bin/modelhandoff crds
	.venv/bin/modelhandoff crds --output charts/modelhandoff/crds
	.venv/bin/modelhandoff generate

clean: ## Remove clusters, the virtual environment and caches of this checkout
	[ ! -x $(PY) ] || $(PY) -m e2e.cluster down --all
	rm -rf .venv .work .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
