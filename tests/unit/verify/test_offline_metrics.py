"""acceptance.offline on small models and test sets: what is proven, and what nobody can say."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from sklearn import metrics

from modelhandoff.api.verification import FrozenBaseline
from tests.unit.verify.bundles import FLOAT, Folder, info, model

QUERIES = 100
PER_QUERY = 6


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    """Enough to see what is meant; their number is tested where they are drawn."""
    monkeypatch.setattr("modelhandoff.verify.offline.resamples_for", lambda _: 1000)


def linear(weights: list[float], *, sigmoid: bool = True) -> bytes:
    """score = sigmoid(x0 w0 + x1 w1), [rows, 2] to [rows, 1]."""
    last = "Sigmoid" if sigmoid else "Identity"
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node(last, ["z"], ["score"])],
        [info("x", FLOAT, ["rows", 2])],
        [info("score", FLOAT, ["rows", 1])],
        w=np.array(weights, dtype=np.float32)[:, None],
    )


def broken(row_value: float) -> bytes:
    """A model that fails where x0 is beyond the table, as a model with a missing category does."""
    return model(
        [
            helper.make_node("ReduceSum", ["x", "axes"], ["s"], keepdims=1),
            helper.make_node("Cast", ["s"], ["i"], to=7),
            helper.make_node("Gather", ["table", "i"], ["score"]),
        ],
        [info("x", FLOAT, ["rows", 2])],
        [info("score", FLOAT, ["rows", 1])],
        table=np.zeros(int(row_value), dtype=np.float32),
        axes=np.array([1], dtype=np.int64),
    )


@dataclass
class Rows:
    """Rows of two features: the label follows x0 and a little of x1."""

    x: np.ndarray
    label: np.ndarray
    query: np.ndarray

    @classmethod
    def drawn(cls, seed: int = 1, queries: int = QUERIES) -> Rows:
        source = np.random.default_rng(seed)
        n = queries * PER_QUERY
        x = np.round(source.normal(0.0, 1.0, (n, 2)), 4)
        logit = 2.0 * x[:, 0] + 1.0 * x[:, 1] - 1.0
        label = (source.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
        return cls(x, label, np.repeat(np.arange(queries), PER_QUERY))

    def csv(self) -> bytes:
        out = io.StringIO()
        out.write("a,b,label,query\n")
        for (a, b), label, query in zip(self.x, self.label, self.query, strict=True):
            out.write(f"{a},{b},{label},q{query}\n")
        return out.getvalue().encode()

    def jsonl(self) -> bytes:
        return "".join(
            json.dumps({"a": a, "b": b, "label": int(y), "query": f"q{q}"}) + "\n"
            for (a, b), y, q in zip(self.x, self.label, self.query, strict=True)
        ).encode()

    def scores(self, weights: list[float]) -> np.ndarray:
        z = self.x.astype(np.float32) @ np.array(weights, dtype=np.float32)
        return 1 / (1 + np.exp(-z.astype(np.float64)))


GOOD, WEAK = [2.0, 1.0], [2.0, -0.4]


@dataclass
class Contest:
    """A candidate, a baseline and a test set in a folder."""

    path: Path
    offline: list[dict[str, Any]]
    candidate: bytes = field(default_factory=lambda: linear(GOOD))
    baseline: bytes | None = field(default_factory=lambda: linear(WEAK))
    rows: bytes = field(default_factory=lambda: Rows.drawn().csv())
    acceptance: dict[str, Any] = field(default_factory=dict)
    absent: str = "nothing serves yet"
    features: tuple[str, ...] = ("a", "b")

    def check(self) -> Any:
        spec = {
            "acceptance": {"offline": self.offline, **self.acceptance},
            "contracts": {"data": {"features": [{"name": n, "type": "Float"} for n in "ab"]}},
        }
        folder = Folder(
            self.path,
            {"Model": self.candidate, "TestSet": self.rows},
            {"Model": "model.onnx", "TestSet": "testset.csv"},
            spec,
        )
        folder.baseline = self._frozen()
        return folder.checks()["OfflineMetrics"]

    def _frozen(self) -> FrozenBaseline:
        if self.baseline is None:
            return FrozenBaseline(absent=self.absent)
        below = self.path / "baseline"
        below.mkdir(exist_ok=True)
        (below / "model.onnx").write_bytes(self.baseline)
        digest = f"sha256:{hashlib.sha256(self.baseline).hexdigest()}"
        return FrozenBaseline.model_validate(
            {
                "version": "1.3.0",
                "revision": "0123456789",
                "artifacts": [
                    {"role": "Model", "uri": "https://models.example/m.onnx", "digest": digest}
                ],
                "files": ["model.onnx"],
                "features": list(self.features),
            }
        )


NDCG = {"metric": "NDCG", "k": 5}
AUC = {"metric": "AUC"}


def test_a_candidate_that_is_better_by_enough_is_accepted_with_its_numbers(tmp_path):
    check = Contest(tmp_path, [{**NDCG, "minRelativeChange": 0.02}]).check()

    assert check.state == "Passed", check.message
    assert check.message.startswith("NDCG@5: +")
    assert "over 1.3.0 (0." in check.message
    assert "100 queries; at least +2 % is proven." in check.message
    numbers = check.numbers
    assert numbers["NDCG@5.needed"] == 0.02 <= numbers["NDCG@5.lower"] < numbers["NDCG@5.change"]
    assert numbers["rows"] == QUERIES * PER_QUERY


def test_a_gain_that_is_not_proven_stops_it_and_says_how_much_more_data_would_do(tmp_path):
    gain = Contest(tmp_path, [{**NDCG, "minRelativeChange": 0.02}]).check().numbers["NDCG@5.change"]
    asked = gain - 0.01

    check = Contest(tmp_path, [{**NDCG, "minRelativeChange": asked}]).check()

    assert check.state == "Failed"
    assert check.message.startswith("NDCG@5: is not proven; got +")
    assert f"allowed at least +{100 * asked:.3g} %, proven; about " in check.message
    assert "queries would prove a difference of this size" in check.message


def test_a_gain_that_the_interval_excludes_is_not_met(tmp_path):
    check = Contest(tmp_path, [{**NDCG, "minRelativeChange": 0.9}]).check()

    assert check.state == "Failed"
    assert check.message.startswith("NDCG@5: is not met; got +")


def test_the_same_bundle_gets_the_same_answer(tmp_path):
    contest = Contest(tmp_path, [{**AUC, "nonInferiorityMargin": 0.01}])

    assert contest.check() == contest.check()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_values_are_those_of_scikit_learn(tmp_path, form):
    rows = Rows.drawn()
    score, label = rows.scores(GOOD), rows.label
    precision, recall, _ = metrics.precision_recall_curve(label, score)
    want = {
        "AUC": metrics.roc_auc_score(label, score),
        "PRAUC": metrics.average_precision_score(label, score),
        "RecallAtPrecision@0.8": recall[precision >= 0.8].max(),
        "LogLoss": metrics.log_loss(label, score),
        "Brier": metrics.brier_score_loss(label, score),
        "RMSE": metrics.root_mean_squared_error(label, score),
        "MAE": metrics.mean_absolute_error(label, score),
        "Accuracy": metrics.accuracy_score(label, score >= 0.5),
    }
    asked: list[dict[str, Any]] = [{"metric": "AUC", "minValue": 0.5}]
    for name in list(want)[1:]:
        metric, _, at = name.partition("@")
        more = {"atPrecision": float(at)} if at else {}
        asked.append({"metric": metric, "role": "Secondary", **more})

    check = Contest(tmp_path, asked, baseline=None, rows=getattr(rows, form)()).check()

    assert check.state == "Passed", check.message
    for name, value in want.items():
        assert check.numbers[f"{name}.candidate"] == pytest.approx(
            value, abs=2e-5
        )  # the model counts in float32
        assert check.numbers[f"{name}.lower"] <= value <= check.numbers[f"{name}.upper"]


def test_of_a_loss_less_is_better(tmp_path):
    better = Contest(tmp_path, [{"metric": "LogLoss", "minRelativeChange": 0.05}]).check()
    most = Contest(tmp_path, [{"metric": "Brier", "maxValue": 0.5}], baseline=None).check()
    worse = Contest(
        tmp_path,
        [{"metric": "LogLoss", "nonInferiorityMargin": 0.01}],
        candidate=linear(WEAK),
        baseline=linear(GOOD),
    ).check()

    assert better.state == "Passed", better.message
    assert "better than 1.3.0" in better.message
    assert most.state == "Passed", most.message
    assert "at most 0.5 is proven" in most.message
    assert worse.state == "Failed"
    assert worse.message.startswith("LogLoss: is not met; got -")


def test_a_secondary_metric_is_told_and_decides_nothing(tmp_path):
    check = Contest(
        tmp_path,
        [
            {**AUC, "minValue": 0.6},
            {**NDCG, "role": "Secondary", "minRelativeChange": 0.9},
            {"metric": "LogLoss", "role": "Secondary"},
        ],
        candidate=linear(GOOD, sigmoid=False),
    ).check()

    assert check.state == "Passed"
    assert "NDCG@5: is not met" in check.message
    assert "LogLoss: LogLoss needs probabilities; the candidate answers" in check.message


def test_two_bounds_on_one_metric_are_two_answers(tmp_path):
    check = Contest(
        tmp_path, [{**AUC, "minValue": 0.7}, {**AUC, "nonInferiorityMargin": 0.0}]
    ).check()

    assert check.state == "Passed", check.message
    assert {"AUC.needed", "AUC#2.needed"} <= set(check.numbers)


def test_without_a_baseline_comparisons_are_skipped_and_values_are_not(tmp_path):
    relative = {**NDCG, "minRelativeChange": 0.02}
    alone = Contest(tmp_path, [relative], baseline=None).check()
    both = Contest(tmp_path, [relative, {**AUC, "minValue": 0.7}], baseline=None).check()
    strict = Contest(
        tmp_path, [relative], baseline=None, acceptance={"withoutBaseline": "Inconclusive"}
    ).check()

    assert (alone.state, alone.message) == (
        "Skipped",
        "Nothing to compare with: nothing serves yet.",
    )
    assert both.state == "Passed"
    assert both.message.endswith("Not compared, because nothing serves yet: NDCG@5.")
    assert strict.state == "Inconclusive"


def test_a_secondary_value_alone_decides_nothing_in_place_of_a_comparison(tmp_path):
    check = Contest(
        tmp_path,
        [{**NDCG, "minRelativeChange": 0.02}, {**AUC, "role": "Secondary"}],
        baseline=None,
    ).check()

    assert check.state == "Skipped"


def test_a_baseline_that_fails_on_a_row_is_not_the_candidates_fault(tmp_path):
    check = Contest(tmp_path, [{**AUC, "nonInferiorityMargin": 0}], baseline=broken(1)).check()

    assert check.state == "Inconclusive"
    assert "testset.csv:" in check.message
    assert "the baseline 1.3.0 fails on this row" in check.message


def test_a_row_that_the_candidate_refuses_is_named(tmp_path):
    rows = b"a,b,label,query\n" + b"0,0,1,q\n" * 40 + b"7,0,0,q\n"
    check = Contest(tmp_path, [{**AUC, "minValue": 0.5}], candidate=broken(2), rows=rows).check()

    assert check.state == "Failed"
    assert check.message.startswith("testset.csv:42: the candidate fails on this row; got ")


def test_a_baseline_with_other_bytes_proves_nothing(tmp_path):
    contest = Contest(tmp_path, [{**AUC, "nonInferiorityMargin": 0}])
    frozen = contest._frozen()
    contest._frozen = lambda: frozen  # type: ignore[method-assign]
    (tmp_path / "baseline" / "model.onnx").write_bytes(linear(GOOD))

    check = contest.check()

    assert check.state == "Inconclusive"
    assert "the baseline 1.3.0: model.onnx: digest is wrong" in check.message


HEAD = "a,b,label,query\n"
LINE = "1,2,1,q\n"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("", "testset.csv: is empty"),
        (HEAD, "testset.csv: holds no row"),
        ("a,a,label\n1,2,1\n", "testset.csv:1: a column is there twice; got 'a'"),
        (
            "a,b,query\n1,2,q\n",
            "testset.csv:2: no such column; got a, b, query; allowed also label",
        ),
        (
            "a,label,query\n1,1,q\n",
            "testset.csv:2: no such column; got a, label, query; allowed al",
        ),
        (HEAD + "1,2,1\n", "testset.csv:2: does not fit the header; got 3 values; allowed 4"),
        (HEAD + "1,two,1,q\n", "testset.csv:2: b: no FP32; got 'two'"),
        (HEAD + "1,1e99,1,q\n", "testset.csv:2: b"),
        (HEAD + "1,2,,q\n", "testset.csv:2: label: no number; got ''"),
        (HEAD + "1,2,nan,q\n", "testset.csv:2: label: no number; got 'nan'"),
        (HEAD + "1,2,0.5,q\n" * 40, "testset.csv: AUC needs labels 0 and 1; got 0.5"),
        (HEAD + LINE * 40, "testset.csv: AUC needs both labels; got 1 in every row"),
        (
            HEAD + LINE * 40 + "1,2,0,q\n" * 5,
            "too few clusters with label 0 for an interval; got 5",
        ),
        (HEAD + ",2,1,q\n" * 40, "testset.csv:2: the candidate answers no number; got nan"),
        (HEAD + '"1,2,1,q\n', ": cannot be read; got unexpected end of data"),
        ("[1]\n", "testset.csv: holds no row"),
        ('{"a": 1, "b": 2, "label": 1}\n[1]\n', "testset.csv:2: no row; got [1]"),
        ('{"a": "1", "b": 2, "label": 1}\n', "allowed also query"),
        ('{"a": true, "b": 2, "label": 1, "query": 1}\n', "testset.csv:1: a: not a FP32"),
    ],
)
def test_a_test_set_that_nobody_can_judge_is_named(tmp_path, rows, says):
    check = Contest(
        tmp_path,
        [{**AUC, "minValue": 0.5}, {**NDCG, "role": "Secondary"}],
        baseline=None,
        rows=rows.encode(),
    ).check()

    assert check.state == "Failed"
    assert says in check.message


def test_bytes_that_are_no_text_are_named(tmp_path):
    check = Contest(
        tmp_path, [{**AUC, "minValue": 0.5}], baseline=None, rows=HEAD.encode() + b"\xff\xfe\n"
    ).check()

    assert check.state == "Failed"
    assert "cannot be read" in check.message


def test_few_queries_prove_nothing(tmp_path):
    rows = Rows.drawn(queries=12)
    check = Contest(tmp_path, [{**NDCG, "minRelativeChange": 0.02}], rows=rows.csv()).check()

    assert check.state == "Failed"
    assert "too few queries of more than one row for an interval; got 12; allowed" in check.message


def test_queries_of_one_user_are_one_cluster(tmp_path):
    rows = Rows.drawn()
    text = rows.csv().decode().splitlines()
    users = [f"{text[0]},user"]
    users += [f"{line},u{q // 2}" for line, q in zip(text[1:], rows.query, strict=True)]
    metric = {**NDCG, "minRelativeChange": 0.02, "clusterBy": "user"}

    check = Contest(tmp_path, [metric], rows="\n".join(users).encode()).check()
    users[1] = users[1].replace(",u0", ",u9")
    mixed = Contest(tmp_path, [metric], rows="\n".join(users).encode()).check()

    assert check.numbers["NDCG@5.clusters"] == 50
    assert "50 clusters by user" in check.message
    assert mixed.state == "Failed"
    assert "query 'q0' has rows with different user; allowed one" in mixed.message


def test_weights_count_and_may_not_be_negative(tmp_path):
    rows = Rows.drawn()
    text = rows.csv().decode().splitlines()
    weight = np.where(rows.label == 1, 3.0, 1.0)
    lines = [f"{text[0]},w"] + [f"{t},{w}" for t, w in zip(text[1:], weight, strict=True)]
    asked = [{"metric": "Accuracy", "minValue": 0.5}]
    more = {"testSet": {"weight": "w"}}

    check = Contest(
        tmp_path, asked, baseline=None, rows="\n".join(lines).encode(), acceptance=more
    ).check()
    lines[1] = lines[1].rsplit(",", 1)[0] + ",-1"
    negative = Contest(
        tmp_path, asked, baseline=None, rows="\n".join(lines).encode(), acceptance=more
    ).check()

    want = metrics.accuracy_score(rows.label, rows.scores(GOOD) >= 0.5, sample_weight=weight)
    assert check.numbers["Accuracy.candidate"] == pytest.approx(want)
    assert negative.message == "testset.csv:2: w: a weight below 0; got -1"


def test_an_unknown_output_and_an_unplaced_input_are_named(tmp_path):
    asked = [{**AUC, "minValue": 0.5}]
    output = Contest(
        tmp_path, asked, baseline=None, acceptance={"testSet": {"output": "probability"}}
    ).check()
    column = Contest(tmp_path, asked, baseline=None, acceptance={"testSet": {"column": 3}}).check()
    baseline = Contest(
        tmp_path, [{**AUC, "nonInferiorityMargin": 0}], features=("a", "b", "c")
    ).check()

    assert "has no such output; got probability; allowed score" in output.message
    assert "has no such number; got 3; allowed 0..0" in column.message
    assert "which column is x[0] of the baseline 1.3.0?" in baseline.message


def test_classes_are_counted_by_the_largest_number(tmp_path):
    both = model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [info("x", FLOAT, ["rows", 2])],
        [info("y", FLOAT, ["rows", 2])],
    )
    rows = Rows.drawn()
    truth = rows.x.argmax(axis=1)
    right = Rows(rows.x, np.where(np.arange(len(truth)) % 10 == 0, 1 - truth, truth), rows.query)

    accuracy = Contest(
        tmp_path,
        [{"metric": "Accuracy", "minValue": 0.85}],
        candidate=both,
        baseline=None,
        rows=right.csv(),
    ).check()
    auc = Contest(
        tmp_path, [{**AUC, "minValue": 0.5}], candidate=both, baseline=None, rows=right.csv()
    ).check()

    assert accuracy.numbers["Accuracy.candidate"] == pytest.approx(0.9)
    assert accuracy.state == "Passed"
    assert "answers with several numbers per row; got nothing; allowed 0..1" in auc.message


def test_a_row_of_one_query_has_no_order_and_does_not_count(tmp_path):
    rows = Rows.drawn()
    lonely = rows.csv() + b"1,1,1,alone\n"

    check = Contest(tmp_path, [{**NDCG, "minRelativeChange": 0.02}], rows=lonely).check()

    assert check.numbers["NDCG@5.clusters"] == QUERIES
