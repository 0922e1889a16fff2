"""Options: a flag and an environment variable each, and one line when one is wrong."""

from __future__ import annotations

import pytest

from modelhandoff.serve.settings import ContractMode, parse, seconds

NEEDED = {
    "MODEL_DIR": "/models",
    "MODELHANDOFF_MODEL_NAME": "fraud",
    "MODELHANDOFF_MODEL_VERSION": "1.4.0",
}


def test_the_environment_alone_is_enough():
    settings = parse(
        [],
        {
            **NEEDED,
            "MODELHANDOFF_PORT": "9000",
            "MODELHANDOFF_LATENCY_BUDGET": "30ms,0.1",
            "MODELHANDOFF_REFERENCE": "reference.json",
            "MODELHANDOFF_EXAMPLES": "/elsewhere/golden.jsonl",
            "MODELHANDOFF_CONTRACT": "refuse",
            "MODELHANDOFF_MODEL_FILE": "model.onnx",
            "MODELHANDOFF_METRICS_PORT": "",
        },
    )
    assert settings.port == 9000
    assert settings.metrics_port is None
    assert {0.03, 0.1} <= set(settings.latency_edges)
    assert str(settings.reference) == "/models/reference.json"
    assert str(settings.examples) == "/elsewhere/golden.jsonl"
    assert settings.contract is ContractMode.REFUSE
    assert settings.model_file == "model.onnx"
    assert settings.intra_op_threads == 1


def test_a_flag_wins_over_its_variable():
    settings = parse(
        ["--model-version", "2", "--max-batch", "4"], {**NEEDED, "MODELHANDOFF_MAX_BATCH": "9"}
    )
    assert settings.model_version == "2"
    assert settings.batch.max_rows == 4


@pytest.mark.parametrize(("port", "own"), [("8080", None), ("8081", 8081)])
def test_a_metrics_port_like_the_public_one_is_no_second_port(port, own):
    assert parse(["--metrics-port", port], NEEDED).metrics_port == own


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.030", 0.03), ("30ms", 0.03), ("5s", 5.0), ("2m", 120.0), ("1h", 3600.0), (".5", 0.5)],
)
def test_durations(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "required: --model-dir"),
        (["--port", "70000"], "argument --port: got '70000'; allowed 0..65535"),
        (["--workers", "many"], "argument --workers: got 'many'; allowed 1..64"),
        (["--latency-budget", "fast"], "argument --latency-budget: no duration: got 'fast'"),
        (["--latency-budget", "0"], "argument --latency-budget: must be 1 to 60 durations above 0"),
        (["--route", "/v2/x"], "argument --route: got '/v2/x'"),
        (["--route", "score"], "argument --route: got 'score'"),
        (["--route", "/score"], "--route needs --reference"),
        (["--abstain-output", "c"], "--abstain-output needs --reference"),
        (["--request-id-header", "X Y"], "argument --request-id-header: got 'X Y'"),
        (["--contract", "maybe"], "argument --contract: invalid ContractMode value: 'maybe'"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(capsys, flags, said):
    with pytest.raises(SystemExit) as ended:
        parse(flags, NEEDED if flags else {})
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.startswith("modelhandoff-serve: ")
    assert len(printed.splitlines()) == 1
