"""``modelhandoff plan``: how long proofs take, and which rules can never pass."""

import json

import pytest

ERRORS = {"name": "errors", "type": "ErrorRate", "max": 0.01}
LATENCY = {"name": "latency", "type": "Latency", "quantile": 0.95, "budget": "30ms"}
CUSTOM = {**LATENCY, "histogram": {"metric": "predict_seconds"}}
SCORES = {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2}


def test_every_proof_is_forecast(call, written):
    result = call("plan", written(), "--traffic", "200/s", "-o", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["requestsPerLook"] == 6000.0
    errors, latency, scores = found["metrics"]
    assert errors["assumedRate"] == 0.005
    assert latency["assumedRate"] == pytest.approx(0.025)
    assert 0 < errors["safeAt50"]["looks"] <= errors["safeAt80"]["looks"]
    assert errors["safeAt80"]["requests"] == 1800 * errors["safeAt80"]["looks"]
    assert errors["safeAt80"]["seconds"] == 30 * errors["safeAt80"]["looks"]
    assert 1.25 < errors["detectable"] < 2.0
    assert scores["detectable"] >= 0.2
    assert found["neverPasses"] == []


def test_the_same_in_words(call, written):
    result = call("plan", written(), "--traffic", "200/s")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "6,000 requests per look of 30 s" in text
    assert "errors: safety takes" in text
    assert '"no harm found" after 2 h only excludes a rise above' in text


def test_a_worse_baseline_takes_longer(call, written):
    looks = [
        json.loads(
            call("plan", written(), "--traffic", "20/s", "--rate", f"errors={rate}", "-o", "json")
            .stdout
        )["metrics"][0]["safeAt50"]["looks"]
        for rate in ("0.1%", "0.5%", "0.8%")
    ]  # fmt: skip
    assert looks == sorted(looks)
    assert looks[0] < looks[-1]


def steps(*weights, **more):
    return [{"weight": w, "minDuration": "10m", **more} for w in weights]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"monitoring": {"metrics": [ERRORS, CUSTOM]}}, ["--edges", "latency=5ms,10ms,25ms"],
         "metrics[1] (latency): the budget 30 ms lies above the last bucket edge 25 ms"),
        ({"monitoring": {"metrics": [ERRORS, CUSTOM]}}, ["--edges", "latency=50ms,100ms"],
         "metrics[1] (latency): the budget 30 ms lies below the first bucket edge 50 ms"),
        ({"monitoring": {"metrics": [ERRORS, {**SCORES, "maxKL": 0.001}]}},
         ["--traffic", "1/m"],
         "metrics[1] (scores): maxKL 0.001 lies below the bias floor"),
        ({}, ["--rate", "errors=2%"],
         "metrics[0] (errors): safety can never be proven at the assumed rate"),
        ({"rollout": {"steps": steps(10, 20, 30, minSamples=10_000_000)}}, [],
         "steps[0].minSamples: 10,000,000 requests at 10 % take longer than maxDuration 24 h"),
        ({"rollout": {"steps": steps(5, 10, 25), "decision": {"minLooks": 9_000}}}, [],
         "steps: 3 steps of at least minLooks 9000 take"),
        ({"rollout": {"steps": steps(10), "decision": {"maxDuration": "20m"}}},
         ["--traffic", "5/m"],
         "metrics[0] (errors): the proof takes about"),
    ],
)  # fmt: skip
def test_what_can_never_pass_is_refused_by_name(call, written, changes, options, message):
    given = [] if "--traffic" in options else ["--traffic", "200/s"]
    result = call("plan", written(**changes), *given, *options, "-o", "json")
    assert result.exit_code == 1
    never = json.loads(result.stdout)["neverPasses"]
    assert any(line.startswith(message) for line in never), never
    told = json.loads(result.stdout)["warnings"]
    assert not {line.split(": ")[0] for line in told} & {line.split(": ")[0] for line in never}


def test_a_minimum_above_its_maximum_is_refused_like_any_wrong_spec(call, written):
    path = written(rollout={"decision": {"maxDuration": "1h"}})
    result = call("plan", path, "--traffic", "1/s")
    assert result.exit_code == 1
    assert "spec.rollout.decision.maxDuration: the steps alone take longer" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "metrics[1] (latency): whether the budget is a bucket edge of that histogram is not"),
        (["--edges", "latency=10ms,25ms,50ms"],
         "metrics[1] (latency): the budget 30 ms lies inside the bucket (25 ms, 50 ms]"),
    ],
)  # fmt: skip
def test_what_may_not_pass_is_warned_of_by_name(call, written, options, message):
    path = written(monitoring={"metrics": [ERRORS, CUSTOM]})
    result = call("plan", path, "--traffic", "200/s", *options, "-o", "json")
    assert result.exit_code == 0
    assert any(message in line for line in json.loads(result.stdout)["warnings"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--traffic", "many"], "--traffic: not a rate of requests; got many; allowed 60/s"),
        (["--traffic", "0/s"], "--traffic: not a rate of requests; got 0/s"),
        (["--traffic", "1e400"], "--traffic: not a rate of requests; got 1e400"),
        (["--traffic", "1/s", "--rate", "error=1%"],
         "--rate: not NAME=VALUE of a metric of this handoff; got error=1%; allowed errors=..."),
        (["--traffic", "1/s", "--rate", "errors=1%", "--rate", "errors=2%"],
         "--rate: given twice; got errors=2%"),
        (["--traffic", "1/s", "--rate", "errors=200%"], "--rate errors: not a share; got 200%"),
        (["--traffic", "1/s", "--edges", "latency=3,2"],
         "--edges latency: edges do not rise; got 3,2"),
        (["--traffic", "1/s", "--edges", "latency=3,x"],
         "--edges latency: not a duration; got x; allowed 36ms"),
        (["--traffic", "1/s", "-o", "yaml"],
         "--output: not a format; got yaml; allowed text, json"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line(call, written, options, message):
    result = call("plan", written(), *options)
    assert result.exit_code == 1
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read; got No such file or directory; allowed a YAML file"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"a: [1", ":1: not YAML; got"),
        (b"", "needs exactly one ModelHandoff; got nothing; allowed one ModelHandoff"),
        (b"kind: Pod\n---\nkind: Service\n", "needs exactly one ModelHandoff; got Pod, Service"),
        (b"- 1\n", "needs exactly one ModelHandoff; got text"),
        (b"kind: ModelHandoff\n", "apiVersion: another kind"),
    ],
)
def test_a_file_that_is_no_handoff_is_named(call, tmp_path, content, message):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    result = call("plan", path, "--traffic", "1/s")
    assert result.exit_code == 1
    assert message in result.stderr
    assert str(path) in result.stderr
    assert "Traceback" not in result.output
