"""What a candidate is compared with offline: the stable revision as it was when it began."""

from __future__ import annotations

import pytest

from modelhandoff.rollout.actions import CreateAttempt
from tests.builders import DIGEST, spec
from tests.unit.rollout.model import Model

MODEL = {"role": "Model", "uri": "https://models.example/model.onnx", "digest": DIGEST}
TEST_SET = {"role": "TestSet", "uri": "https://models.example/testset.csv", "digest": DIGEST}
RELATIVE = {"metric": "NDCG", "k": 10, "minRelativeChange": 0.02}


def comparing(version: str = "1.4.0", **more):
    return spec(
        candidate={"artifacts": [MODEL, TEST_SET], "model": {"version": version}},
        acceptance={"offline": [RELATIVE]},
        **more,
    )


def created(model: Model) -> CreateAttempt:
    return [w for w in model.writes if isinstance(w, CreateAttempt)][-1]


def test_the_first_version_has_nothing_to_be_compared_with():
    model = Model(raw_spec=comparing())
    model.run()

    assert created(model).baseline.absent == "nothing serves yet"


def test_an_adopted_deployment_has_no_files_here():
    model = Model(
        raw_spec=comparing(baseline={"workloadRef": {"kind": "Deployment", "name": "legacy"}})
    )
    model.adopt()
    model.run()

    assert "Deployment legacy was adopted" in created(model).baseline.absent


@pytest.mark.parametrize("attempt", ["kept", "gone"])
def test_the_stable_revision_comes_with_its_own_files(attempt):
    model = Model().promoted("1.0.0")
    if attempt == "gone":
        model.attempts.clear()
    model.raw_spec = comparing("2.0.0")
    model.run()

    baseline = created(model).baseline
    if attempt == "gone":
        assert baseline.absent.startswith("the attempt that brought 1.0.0")
    else:
        assert (baseline.absent, baseline.version) == ("", "1.0.0")
        assert [a.role for a in baseline.artifacts] == ["Model"]


def test_who_asks_for_no_comparison_gets_no_baseline():
    model = Model(raw_spec=spec())
    model.run()

    assert created(model).baseline is None
