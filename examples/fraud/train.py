"""Train five versions of a small fraud model, each with one character trait.

    python examples/fraud/train.py --out build/fraud

| directory | version | what it is |
|---|---|---|
| v1 | 1.0.0 | the baseline, a logistic model |
| v2 | 1.1.0 | better: a small network, higher AUC, scores on the same scale |
| v3 | 1.2.0 | slow: v2 that computes its feature basis anew in every call (about 0.3 s) |
| v4 | 1.3.0 | broken: trained without merchant code 19, which makes 5 % of live requests fail |
| v5 | 1.4.0 | drifted: v1 retrained on rebalanced data, same ranking, scores far higher |

Each directory gets ``model.onnx``, ``reference.json`` (bins and counts of v1's training data,
the same file for all: drift is judged on identical bins) and ``golden.jsonl`` (requests with
the answers computed at training time), and the papers of a handoff: ``card.md``, ``api.json``,
``requirements.lock`` and ``sbom.json``. ``traffic.jsonl`` holds live requests and
``index.json`` versions, digests and the measured differences. Nothing here depends on the
clock: the same seed and commit give the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# One thread: faster on matrices this small, and sums are added in the same order everywhere.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from graphs import build
from learning import Network, area_under_curve, divergence, fit
from papers import papers
from transactions import FEATURES, MERCHANT, MERCHANT_CODES, NEW_CODE, Floats, Transactions, draw

TRAINING_ROWS = 16_000
HOLDOUT_ROWS = 20_000
TRAFFIC_ROWS = 2_000
GOLDEN_ROWS = 20
BASIS_ROUNDS = 20_000
FRAUD_WEIGHT = 4.7
BINS = 10
DEFAULT_SEED = 42


@dataclass(frozen=True)
class Version:
    """One trained model: where it goes, what it is called, what it does."""

    directory: str
    version: str
    trait: str
    network: Network
    model: bytes


def train(seed: int, commit: str) -> tuple[list[Version], Transactions]:
    """All five versions and the rows v1 was trained on."""
    rows = draw(TRAINING_ROWS, seed)
    baseline = fit(rows, codes=MERCHANT_CODES, hidden=0, seed=seed)
    better = fit(rows, codes=MERCHANT_CODES, hidden=16, seed=seed).on_scale_of(
        baseline, rows.features
    )
    old_codes = rows.where(rows.features[:, MERCHANT] != NEW_CODE)
    broken = fit(old_codes, codes=NEW_CODE, hidden=0, seed=seed).on_scale_of(
        baseline, rows.features
    )
    drifted = fit(rows, codes=MERCHANT_CODES, hidden=0, seed=seed, fraud_weight=FRAUD_WEIGHT)
    plan: list[tuple[str, str, str, Network, bool, int]] = [
        ("v1", "1.0.0", "baseline", baseline, True, 0),
        ("v2", "1.1.0", "better", better, True, 0),
        ("v3", "1.2.0", "slow", better, True, BASIS_ROUNDS),
        ("v4", "1.3.0", "broken", broken, False, 0),
        ("v5", "1.4.0", "drifted", drifted, True, 0),
    ]
    versions = [
        Version(
            directory,
            version,
            trait,
            network,
            build(
                network,
                clip_codes=clip,
                expansion_rounds=rounds,
                metadata={"version": version, "seed": str(seed), "commit": commit},
            ),
        )
        for directory, version, trait, network, clip, rounds in plan
    ]
    return versions, rows


def score(network: Network, features: Floats) -> Floats:
    """Fraud probabilities (n,)."""
    result: Floats = 1.0 / (1.0 + np.exp(-network.logits(features)))
    return result


def feature_edges(name: str, values: Floats) -> list[float]:
    """Inner bin borders: between the values of a discrete feature, else at the deciles."""
    distinct = np.unique(values)
    if len(distinct) <= 2 * BINS + 4:
        borders = (distinct[:-1] + distinct[1:]) / 2.0
    else:
        borders = np.quantile(values, np.arange(1, BINS) / BINS)
    return [float(np.round(border, 6)) for border in borders]


LIMITS: dict[str, dict[str, Any]] = {
    "amount": {"min": 0.0, "max": 1_000_000.0, "unit": "EUR"},
    "hour": {"min": 0.0, "max": 23.0, "unit": "hour of day, UTC"},
    "merchant_code": {"categories": [float(code) for code in range(MERCHANT_CODES)]},
    "account_age_days": {"min": 0.0, "max": 40_000.0, "unit": "day"},
    "tx_last_hour": {"min": 0.0, "max": 1_000.0},
    "distance_km": {"min": 0.0, "max": 20_100.0, "unit": "km"},
    "is_foreign": {"categories": [0.0, 1.0]},
    "device_score": {"min": 0.0, "max": 1.0},
}


def reference(baseline: Version, rows: Transactions) -> dict[str, Any]:
    """The reference document (format: ``modelhandoff.serve.reference``)."""
    scores = score(baseline.network, rows.features)

    def binned(values: Floats, edges: list[float]) -> dict[str, Any]:
        # side="left": the upper border of a bin belongs to it, as in a Prometheus histogram.
        bins = np.searchsorted(edges, values, side="left")
        counts = np.bincount(bins, minlength=len(edges) + 1).tolist()
        return {"edges": edges, "counts": counts, "missing": 0}

    outputs = {"score": scores, "confidence": np.abs(2.0 * scores - 1.0)}
    return {
        "format": "modelhandoff.dev/reference/v1",
        "model": {"name": "fraud", "version": baseline.version},
        "features": [
            {
                "name": name,
                "input": "features",
                "column": column,
                **binned(rows.features[:, column], feature_edges(name, rows.features[:, column])),
                **LIMITS[name],
            }
            for column, name in enumerate(FEATURES)
        ],
        "outputs": [
            {"name": name, "output": name, **binned(values, feature_edges(name, values))}
            for name, values in outputs.items()
        ],
    }


def request(rows: Floats) -> dict[str, Any]:
    """An Open Inference v2 request for rows of features."""
    data = [float(np.float32(value)) for value in rows.ravel()]
    shape = [int(dim) for dim in rows.shape]
    return {"inputs": [{"name": "features", "datatype": "FP32", "shape": shape, "data": data}]}


def golden(version: Version, rows: Transactions) -> list[dict[str, Any]]:
    """Single-row requests with known merchant codes, and the answers numpy computed for them.

    The graphs agree to about 1e-6, the slow one (its basis adds a trifle) to about 1e-5.
    """
    known = rows.where(rows.features[:, MERCHANT] != NEW_CODE).features[:GOLDEN_ROWS]
    answers = score(version.network, known)
    outputs = {"score": answers, "confidence": np.abs(2.0 * answers - 1.0)}
    return [
        {
            "request": request(known[row : row + 1]),
            "response": {
                "outputs": [
                    {
                        "name": name,
                        "datatype": "FP32",
                        "shape": [1],
                        "data": [float(np.float32(values[row]))],
                    }
                    for name, values in outputs.items()
                ]
            },
        }
        for row in range(len(known))
    ]


def lines(documents: list[dict[str, Any]]) -> bytes:
    """JSON lines."""
    return "".join(json.dumps(d, separators=(",", ":")) + "\n" for d in documents).encode()


def write(out: Path, seed: int, commit: str) -> dict[str, Any]:
    """Train and write everything below ``out``; returns the index."""
    versions, rows = train(seed, commit)
    holdout = draw(HOLDOUT_ROWS, seed + 1)
    live = draw(TRAFFIC_ROWS, seed + 2)
    document = reference(versions[0], rows)
    edges = np.array(document["outputs"][0]["edges"])
    baseline_scores = score(versions[0].network, holdout.features)
    index: dict[str, Any] = {"model": "fraud", "seed": seed, "commit": commit, "versions": {}}
    for version in versions:
        scores = score(version.network, holdout.features)
        auc = round(area_under_curve(scores, holdout.fraud), 4)
        files = {
            "model.onnx": version.model,
            "reference.json": json.dumps(document, indent=1).encode(),
            "golden.jsonl": lines(golden(version, rows)),
            **papers(
                version=version.version,
                trait=version.trait.capitalize(),
                seed=seed,
                commit=commit,
                auc=auc,
            ),
        }
        directory = out / version.directory
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (directory / name).write_bytes(content)
        index["versions"][version.directory] = {
            "version": version.version,
            "trait": version.trait,
            "auc": auc,
            "kl_to_v1": round(divergence(scores, baseline_scores, edges), 4),
            "files": {
                name: {
                    "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
                    "bytes": len(content),
                }
                for name, content in files.items()
            },
        }
    live_requests = [{"request": request(row[None, :])} for row in live.features]
    (out / "traffic.jsonl").write_bytes(lines(live_requests))
    (out / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return index


def head_commit() -> str:
    """The commit of the checkout this script lies in, or zeros outside of one."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() if found.returncode == 0 else "0" * 40


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the five fraud models.")
    parser.add_argument("--out", type=Path, required=True, help="directory to write to")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--commit", help="stamped into the models; default: HEAD")
    args = parser.parse_args()
    index = write(args.out, args.seed, args.commit or head_commit())
    for directory, entry in index["versions"].items():
        size = entry["files"]["model.onnx"]["bytes"]
        print(
            f"{directory} {entry['version']} {entry['trait']:9} AUC {entry['auc']:.4f} "
            f"KL to v1 {entry['kl_to_v1']:.4f} {size:>7} bytes"
        )


if __name__ == "__main__":
    main()
