"""Tests and reproduction in images of one's own, before a pod of the candidate: on real pods."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cases import Case, Raw, condition
from e2e.cluster import images
from e2e.test_verification import never_existed

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(300, func_only=True)]

JUNIT = "open('/results/junit.xml', 'w').write('<testsuite>{}</testsuite>')"
ONE_CASE = JUNIT.format('<testcase name="scores"/>')
LOOKS = "import os; assert os.path.getsize(os.environ['MODEL_DIR'] + '/model.onnx')"
METRICS = "open('/results/metrics.json', 'w').write('{\"auc\": %s}')"


def run(code: str) -> Raw:
    """An image that has Python, and what it does."""
    return {"image": images.image_ref("serve"), "command": ["python", "-c", code]}


def unit(code: str, **more: Any) -> Raw:
    """A test of this code."""
    test = {"name": "unit", **run(code), **more}
    return {"acceptance": {"tests": [test]}}


def again(code: str, within: str = "1m") -> Raw:
    """A training of this code that must come to an AUC of 0.91 +- 0.02."""
    metrics = [{"name": "auc", "value": 0.91}]
    made = {**run(code), "within": within, "tolerance": 0.02, "metrics": metrics}
    return {"acceptance": {"reproduce": made}}


def test_a_passing_test_and_a_model_made_again_let_the_candidate_through(case: Case) -> None:
    case.apply("v1", unit(f"{LOOKS}; {ONE_CASE}"), again(f"print('epoch 9'); {METRICS % 0.92}"))
    status = case.wait("Promoted")

    jobs = {job["name"]: job for job in case.attempt()["status"]["jobs"]}
    assert jobs["Test/unit"]["numbers"]["tests"] == 1
    assert jobs["Reproduction"]["numbers"]["auc"] == 0.92
    assert jobs["Reproduction"]["log"] == "epoch 9"
    assert condition(status, "Reproduced")["status"] == "True"
    assert condition(status, "AcceptancePassed")["status"] == "True"


@pytest.mark.parametrize(
    ("asked", "reason", "words"),
    [
        (unit("raise SystemExit('3 is not 4')"), "TestFailed", "3 is not 4"),
        (unit(JUNIT.format("")), "TestRanNothing", "it ran no test"),
        (again("import time; time.sleep(600)", "5s"), "ReproductionTooSlow", "allowed 5 s"),
        (again(METRICS % 0.8), "ReproductionDiffers", "auc: got 0.8; allowed 0.91 +- 0.02"),
    ],
    ids=["failing", "zero-tests", "too-slow", "off-by-tolerance"],
)
def test_what_does_not_pass_is_rejected_in_its_own_words_and_no_pod_ever_exists(
    case: Case, asked: Raw, reason: str, words: str
) -> None:
    old = case.serve("v1")
    case.apply("v2", asked)
    status = case.wait("Rejected", timeout=120)

    assert status["verdict"]["reason"] == reason
    assert words in status["message"]
    never_existed(case, status, old)
