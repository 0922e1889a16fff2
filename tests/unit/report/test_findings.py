"""The table and the evidence: the stored checkpoint read again, numbers as people read them."""

import json
import math

import pytest

from modelhandoff.api.monitoring import Metric
from modelhandoff.api.vocabulary import Outcome
from modelhandoff.report import compose, read, words
from modelhandoff.report.document import Figure, Table, Tone
from modelhandoff.report.findings import bin_labels, findings, split, table
from modelhandoff.report.recomputed import Judged, judged
from tests.unit.report.exports import (
    DRIFTED,
    GOOD,
    PROMOTED,
    ROLLED_BACK,
    SLOW,
    attempt,
    changed,
    ended,
)


def rows(found):
    return {
        row.cells[0][0].text: [
            "".join(part if isinstance(part, str) else part.text for part in cell)
            for cell in row.cells
        ]
        for row in found.rows
    }


def of(raw):
    subject = read([raw]).attempt
    told = judged(subject)
    assert isinstance(told, Judged), told
    return subject, told


def test_the_checkpoint_gives_the_evidence_that_was_latched():
    for raw in (ROLLED_BACK, PROMOTED):
        subject, told = of(raw)
        assert told.total_e == pytest.approx(raw["status"]["verdict"]["totalE"], rel=1e-9)
        assert told.looks == subject.state.verdict.look


def test_the_guilty_metric_is_first_and_red():
    subject, told = of(ROLLED_BACK)
    found = table(findings(subject, told))
    assert found.rows[0].tone is Tone.BAD
    first = rows(found)["errors"]
    assert first[1] == "harm"
    assert first[3].endswith(" %")
    assert "x" in first[4]
    assert first[5] == "at most 1 %"
    assert [row.tone for row in found.rows[1:]].count(Tone.BAD) == 0


def test_a_promotion_is_all_green():
    subject, told = of(PROMOTED)
    found = table(findings(subject, told))
    assert {row.tone for row in found.rows} == {Tone.GOOD}
    assert rows(found)["latency"][0].strip().startswith("latency requests over 30 ms (p95)")
    assert rows(found)["scores"][5] == "KL at most 0.2"


def test_without_a_checkpoint_the_kept_summary_is_shown():
    raw = changed(PROMOTED, ("status", "evidence"), "")
    subject = read([raw]).attempt
    assert judged(subject) == "No interval was judged, so there is no evidence."
    found = rows(table(findings(subject, None)))
    assert found["errors"][1] == "proven safe"
    assert found["errors"][6] != "-"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: json.dumps({**json.loads(text), "sum": 1}),
        lambda text: json.dumps({**json.loads(text), "plan": "another"}),
        lambda text: json.dumps({**json.loads(text), "v": 99}),
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_checkpoint_is_told_and_the_rest_is_there(damage):
    found = compose(read([changed(PROMOTED, ("status", "evidence"), damage)]))
    said = [block for block in found.blocks if "cannot be read" in str(block)]
    assert len(said) == 1
    assert any(isinstance(block, Table) for block in found.blocks)
    assert not any(isinstance(b, Figure) and "decision lines" in b.title for b in found.blocks)


def test_damaged_bins_are_told():
    raw = changed(PROMOTED, ("status", "bins"), '{"scores":{"edges":1}}')
    assert "cannot be read" in str(judged(read([raw]).attempt))


def test_another_evidence_than_the_latched_one_is_not_called_equal():
    raw = changed(ROLLED_BACK, ("status", "verdict", "totalE"), 101.0)
    assert "another version judged" in str(compose(read([raw])).blocks)
    assert "equal to what was latched" in str(compose(read([ROLLED_BACK])).blocks)


def test_a_drifted_distribution_is_drawn_with_its_shares():
    _, told = of(attempt(ended(DRIFTED, Outcome.ROLLBACK, "HarmDetected")))
    (one,) = told.drifted
    assert one.key == "scores"
    assert math.isclose(sum(one.candidate), 1.0)
    assert math.isclose(sum(one.baseline), 1.0)
    assert one.divergence == pytest.approx(0.6, abs=0.1)


def test_slow_requests_are_counted_per_edge():
    _, told = of(attempt(ended(SLOW, Outcome.ROLLBACK, "HarmDetected")))
    found = told.tails["latency"]
    assert [one.edge for one in found] == sorted({one.edge for one in found})
    budget = next(one for one in found if one.edge == 0.03)
    slow, every = budget.candidate
    assert slow / every > 0.05
    assert budget.baseline is not None
    assert budget.baseline[0] / budget.baseline[1] < 0.05


def test_the_split_is_judged_once_there_are_intervals_enough():
    _, told = of(PROMOTED)
    assert "as planned" in split(told)[0]
    _, short = of(attempt(ended(GOOD, Outcome.ABORT, "Aborted", looks=4)))
    assert split(short) == ("too few intervals to test",)


def test_bins_are_named_by_their_upper_ends():
    assert bin_labels((0.1, 0.5), (0, 1, 2)) == ("0.1", "0.5", "more")
    assert bin_labels((0.1, 0.5), (0, 1, 2, 3)) == ("0.1", "0.5", "more", "missing")
    assert bin_labels((0.1, 0.5), (0, 1, 2, 2)) == ("0.1", "0.5", "more")
    assert bin_labels((0.1, 0.5), (0, 0, 1)) == ("0.5", "more")
    assert bin_labels((), (0, 1)) == ("bin 1", "bin 2")


RATE = Metric.model_validate({"name": "errors", "type": "ErrorRate", "max": 0.01})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((0.8, 1.4), "0.8x to 1.4x"),
        ((16.7, math.inf), "16.7x or more"),
        ((0.0, 1.2), "up to 1.2x"),
        ((0.0, math.inf), ""),
        ((math.nan, 1.0), ""),
        (None, ""),
    ],
)
def test_an_open_interval_is_said_in_words(found, said):
    assert words.interval(RATE, found, ratio=True) == said


def test_values_and_limits_are_written_like_the_status():
    assert words.value(RATE, 0.0632) == "6.32 %"
    assert words.value(RATE, None) == "-"
    assert words.value(RATE, math.inf) == "-"
    assert words.interval(RATE, (0.0098, 0.0131), ratio=False) == "0.98 % to 1.31 %"
    assert words.limit(RATE) == "at most 1 %"
    assert words.power(800.0) == "over 10^299"
    assert words.power(-200.0) == "under 0.01"
    assert words.power(math.log(132.0)) == "132"
