"""The fraud example: each version has its one trait, and no other.

Training takes some seconds, so the models are made once for the whole module.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.resolve import resolve
from modelhandoff.api.verification import spec_document
from modelhandoff.cluster.pods import file_names
from modelhandoff.serve.contract import bind
from modelhandoff.serve.model import ModelFailed, load_model
from modelhandoff.serve.reference import bin_of, load_reference
from modelhandoff.serve.warmup import read_examples, warm_up
from modelhandoff.verify.bundle import Bundle, read_bundle
from modelhandoff.verify.findings import made
from modelhandoff.verify.worker import Bench, asked

EXAMPLE = Path(__file__).parents[3] / "examples" / "fraud"
COMMIT = "9fceb02d0ae598e95dc970b74767f19372d61af8"
VERSIONS = ("v1", "v2", "v3", "v4", "v5")


@pytest.fixture(scope="module")
def fraud(tmp_path_factory):
    out = tmp_path_factory.mktemp("fraud")
    command = [sys.executable, str(EXAMPLE / "train.py"), "--out", str(out), "--commit", COMMIT]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def index(fraud):
    return json.loads((fraud / "index.json").read_text())


@pytest.fixture(scope="module")
def live(fraud):
    """Features of the live requests, FP32 [2000, 8]."""
    lines = (fraud / "traffic.jsonl").read_text().splitlines()
    rows = [json.loads(line)["request"]["inputs"][0]["data"] for line in lines]
    return np.array(rows, dtype=np.float32)


def model_of(fraud, version):
    return load_model(fraud / version / "model.onnx", intra_op_threads=1)


def scores(fraud, version, rows):
    return model_of(fraud, version).run({"features": rows})["score"]


def test_the_index_tells_the_truth_about_every_file(fraud, index):
    for version in VERSIONS:
        for name, entry in index["versions"][version]["files"].items():
            content = (fraud / version / name).read_bytes()
            assert entry["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
            assert entry["bytes"] == len(content)


def test_models_are_small_and_carry_version_seed_and_commit(fraud, index):
    for version in VERSIONS:
        path = fraud / version / "model.onnx"
        assert path.stat().st_size < (20_000 if version != "v3" else 400_000)
        assert model_of(fraud, version).metadata == {
            "version": index["versions"][version]["version"],
            "seed": "42",
            "commit": COMMIT,
        }


def test_v2_ranks_better_and_keeps_the_scale(index):
    versions = index["versions"]
    assert versions["v2"]["auc"] > versions["v1"]["auc"] + 0.01
    assert versions["v2"]["kl_to_v1"] < 0.05


def test_v3_does_twenty_thousand_rounds_of_nothing(fraud, live):
    graph = onnx.load(fraud / "v3" / "model.onnx").graph
    rounds = {tensor.name: tensor for tensor in graph.initializer}["rounds"]
    assert [node.op_type for node in graph.node].count("Loop") == 1
    assert onnx.numpy_helper.to_array(rounds).item() == 20_000
    rows = live[:50]
    np.testing.assert_allclose(scores(fraud, "v3", rows), scores(fraud, "v2", rows), rtol=2e-4)


def test_v4_fails_on_the_code_it_never_saw_and_on_nothing_else(fraud, live):
    model = model_of(fraud, "v4")
    codes = live[:, 2]
    failed = Counter()
    for row, code in zip(live, codes, strict=True):
        try:
            model.run({"features": row[None, :]})
        except ModelFailed:
            failed[float(code)] += 1
    assert failed == {19.0: int((codes == 19).sum())}
    assert 0.03 < (codes == 19).mean() < 0.07
    for version in ("v1", "v2", "v5"):
        scores(fraud, version, live)


def test_v4_answers_like_v1_where_it_answers(fraud, index, live):
    known = live[live[:, 2] != 19]
    assert np.abs(scores(fraud, "v4", known) - scores(fraud, "v1", known)).mean() < 0.01
    assert index["versions"]["v4"]["kl_to_v1"] < 0.01


def test_v5_ranks_like_v1_on_another_scale(fraud, index, live):
    versions = index["versions"]
    assert abs(versions["v5"]["auc"] - versions["v1"]["auc"]) < 0.005
    assert 0.4 < versions["v5"]["kl_to_v1"] < 0.6
    assert scores(fraud, "v5", live).mean() > 2 * scores(fraud, "v1", live).mean()


def test_the_reference_is_one_file_with_bins_fit_for_judging(fraud):
    texts = {(fraud / version / "reference.json").read_bytes() for version in VERSIONS}
    assert len(texts) == 1
    reference = load_reference(fraud / "v1" / "reference.json")
    score = reference.outputs[0]
    assert (score.name, len(score.counts), sum(score.counts)) == ("score", 10, 16_000)
    # Deciles: no bin is so thin that its share is a guess.
    assert min(score.counts) > 1_500
    for feature in reference.features:
        assert sum(feature.counts) == 16_000
        assert min(feature.counts) > 0


def test_live_scores_of_v1_fall_into_the_reference_bins_as_training_did(fraud, live):
    score = load_reference(fraud / "v1" / "reference.json").outputs[0]
    bins = Counter(bin_of(score.edges, float(value)) for value in scores(fraud, "v1", live))
    assert all(140 < bins[index] < 260 for index in range(10))


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_requests_get_their_golden_answers(fraud, version):
    model = model_of(fraud, version)
    lines = (fraud / version / "golden.jsonl").read_text().splitlines()
    assert len(lines) == 20
    rows = [json.loads(line) for line in lines]
    features = np.array([row["request"]["inputs"][0]["data"] for row in rows], dtype=np.float32)
    got = model.run({"features": features})
    for position, name in enumerate(("score", "confidence")):
        expected = [row["response"]["outputs"][position]["data"][0] for row in rows]
        np.testing.assert_allclose(got[name], expected, rtol=1e-4, atol=1e-5)


def test_the_server_can_join_rows_and_name_features(fraud):
    model = model_of(fraud, "v4")
    reference = load_reference(fraud / "v4" / "reference.json")
    contract = bind(model.inputs, model.outputs, reference)
    assert contract.named_route
    examples = read_examples(fraud / "v4" / "golden.jsonl", contract, max_rows=16)
    warm = warm_up(model, examples, 20)
    assert (warm.failures, warm.joins_rows) == (0, True)


def test_training_is_deterministic(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    from graphs import build
    from learning import fit
    from transactions import draw

    models = [
        build(
            fit(draw(500, 7), codes=20, hidden=4, seed=7, steps=20),
            clip_codes=True,
            expansion_rounds=2,
            metadata={"version": "1", "seed": "7"},
        )
        for _ in range(2)
    ]
    assert models[0] == models[1]
    assert draw(500, 7).features.tolist() != draw(500, 8).features.tolist()


def fraud_handoff(fraud, version):
    """What ``render.py`` writes for one version."""
    command = [sys.executable, str(EXAMPLE / "render.py"), "--models", str(fraud)]
    image = f"registry.example/serve@sha256:{'0' * 64}"
    flags = ["--version", version, "--uri", f"https://models.example/fraud/{version}/"]
    done = subprocess.run(
        [*command, *flags, "--image", image], check=True, capture_output=True, text=True
    )
    return done.stdout


def test_the_handoff_template_renders_to_a_legal_handoff(fraud, index):
    text = fraud_handoff(fraud, "v2")
    handoff = yaml.safe_load(text)
    candidate = handoff["spec"]["candidate"]
    assert candidate["model"] == {"name": "fraud", "version": "1.1.0"}
    assert candidate["provenance"]["git"]["commit"] == COMMIT
    assert candidate["artifacts"][0] == {
        "role": "Model",
        "uri": "https://models.example/fraud/v2/model.onnx",
        "digest": index["versions"]["v2"]["files"]["model.onnx"]["digest"],
    }
    assert "$" not in text
    ModelHandoffSpec.model_validate(handoff["spec"])


@pytest.mark.parametrize("version", ["v1", "v2", "v4", "v5"])
def test_every_version_passes_its_own_verification(fraud, version):
    found = checked(fraud, version, version)

    states = {name: check.state for name, check in found.items()}
    assert set(states) == {
        *("Artifacts", "ModelFormat", "ModelLoads", "ModelMetadata"),
        *("GraphContract", "DataContract", "ApiContract", "GoldenCases"),
        *("ModelCard", "License", "Privacy", "PinnedEnvironment", "SBOM"),
    }
    assert set(states.values()) == {"Passed"}, found
    assert found["GoldenCases"].numbers["cases"] == 20
    assert found["GoldenCases"].numbers["worstShareOfTolerance"] < 0.1


def test_the_answers_of_another_version_are_wrong(fraud):
    found = checked(fraud, "v2", "v1")

    assert found["GoldenCases"].state == "Failed"
    assert found["DataContract"].state == "Passed"


def checked(fraud, version, golden):
    """What the verification Job finds for one version with the golden cases of another."""
    text = fraud_handoff(fraud, version)
    spec = resolve(yaml.safe_load(text)["spec"])
    document = spec_document(
        spec.model_dump(mode="json", by_alias=True), file_names(spec.candidate.artifacts)
    )
    found = read_bundle(document.encode(), fraud / version)
    cases = fraud / golden / "golden.jsonl"
    files = tuple((a, cases if a.role == "TestData" else path) for a, path in found.files)
    bench = Bench(Bundle(spec, files))
    return {str(name): made(name, bench.checks[name]) for name in asked(bench.bundle)}
