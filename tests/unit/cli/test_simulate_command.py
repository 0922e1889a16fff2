"""``modelhandoff simulate``: made-up traffic against a handoff's own rules."""

import json

import pytest

QUICK = ("--traffic", "200/s", "--runs", "6", "--jobs", "1", "-o", "json")
SHORT = {
    "rollout": {"steps": [{"weight": 10, "minDuration": "15m"}], "decision": {"maxDuration": "1h"}},
    "monitoring": {
        "metrics": [
            {"name": "errors", "type": "ErrorRate", "max": 0.01},
            {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms"},
            {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.1},
        ]
    },
}  # fmt: skip


def chances(result):
    assert result.exit_code == 0, result.output
    return {one["outcome"]: one["chance"] for one in json.loads(result.stdout)["outcomes"]}


def test_a_healthy_candidate_is_promoted(call, written):
    found = chances(call("simulate", written(**SHORT), *QUICK))
    assert found == {"Promote": 1.0, "Rollback": 0.0, "Inconclusive": 0.0}


@pytest.mark.parametrize(
    ("harm", "blamed"),
    [
        (["--errors", "3%"], "errors"),
        (["--p95", "45ms"], "latency"),
        (["--drift", "0.5"], "scores"),
    ],
)
def test_harm_is_found_and_blamed(call, written, harm, blamed):
    result = call("simulate", written(**SHORT), *QUICK, *harm)
    assert chances(result)["Rollback"] == 1.0
    summary = json.loads(result.stdout)
    assert summary["blamed"] == {blamed: 6}
    assert summary["outcomes"][1]["medianLooks"] <= 15


def test_delays_count_from_the_onset(call, written):
    found = call("simulate", written(**SHORT), *QUICK, "--errors", "3%", "--onset", "5m")
    summary = json.loads(found.stdout)
    assert summary["onsetLook"] == 10
    assert summary["outcomes"][1]["medianLooks"] == 10 + summary["delayAfterOnset"]["medianLooks"]


def test_a_single_weight_replaces_the_steps(call, written):
    low = json.loads(call("simulate", written(**SHORT), *QUICK, "--errors", "2%", "--weight", "1")
                     .stdout)  # fmt: skip
    high = json.loads(call("simulate", written(**SHORT), *QUICK, "--errors", "2%", "--weight", "50")
                      .stdout)  # fmt: skip
    assert low["outcomes"][1]["medianLooks"] > high["outcomes"][1]["medianLooks"]


def test_the_same_seed_gives_the_same_answer_whatever_the_processes(call, written):
    path = written(**SHORT)
    noisy = ("--bursts", "3", "--noise", "0.2", "--pods", "3/27", "--pod-noise", "0.1")
    words = ("--traffic", "20/s", "--runs", "12", "--errors", "1.5%", *noisy, "-o", "json")
    one = call("simulate", path, *words, "--jobs", "1")
    two = call("simulate", path, *words, "--jobs", "2")
    other = call("simulate", path, *words, "--jobs", "1", "--seed", "2")
    assert one.exit_code == 0, one.output
    assert one.stdout == two.stdout
    assert one.stdout != other.stdout


def test_the_answer_in_words(call, written):
    found = call("simulate", written(**SHORT), *QUICK[:-2], "--errors", "3%", "--onset", "5m")
    text = " ".join(found.stdout.split())
    assert "6 rollouts, 6,000 requests per look of 30 s, at most 120 looks" in text
    assert "Rollback" in text
    assert "100.0 %" in text
    assert "after the onset" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--errors", "2"], "--errors: not a share; got 2; allowed 0 to 100 %"),
        (["--p95", "fast"], "--p95: not a duration; got fast; allowed 36ms"),
        (["--pods", "3"], "--pods: not two numbers of pods; got 3; allowed 3/27"),
        (["--pods", "0/3"], "--pods: not two numbers of pods; got 0/3"),
        (["--onset", "soon"], "--onset: not a duration; got soon"),
        (["--drift", "2.95"], "drift: expected less than 2.85 with 20 bins; got 2.95"),
        (["-o", "csv"], "--output: not a format; got csv; allowed text, json"),
    ],
)
def test_a_wrong_option_is_one_line(call, written, options, message):
    result = call("simulate", written(**SHORT), *QUICK, *options)
    assert result.exit_code == 1
    assert result.stderr.startswith(message), result.stderr
    assert len(result.stderr.splitlines()) == 1
