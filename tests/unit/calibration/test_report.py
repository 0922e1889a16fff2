"""The calibration's page is written from raw results alone and names what deviates."""

from functools import cache

import pytest

from tests.calibration import expected
from tests.calibration.__main__ import _plain, works
from tests.calibration.endings import Cell
from tests.calibration.report import rate, write
from tests.calibration.short import seeds
from tests.calibration.world import BIG

TITLES = (
    "How rollouts end", "False rollbacks", "Delay of a regression", "Proofs of safety",
    "Drift, sustained drift, means", "The planner against", "Points the design left",
    "Side by side",
)  # fmt: skip
HEAD = {"date": "2024-02-29", "seed": 1}


@cache
def invented():
    """Results of every cell, as if the engine did exactly what was expected."""
    cells = {}
    for work in works(1.0, ""):
        if work.key.startswith("ending/"):
            promoted, rolled, middle, late = expected.ENDINGS[work.key.removeprefix("ending/")]
            looks = [middle or 99] * 60 + [late or 99] * 40
            endings = ["Promote"] * round(promoted) + ["Rollback"] * round(rolled)
            endings = (endings + ["Inconclusive"] * 100)[:100]
            order = sorted(range(100), key=lambda i: (i * 37) % 100)
            cells[work.key] = [[e, looks[i], ""] for e, i in zip(endings, order, strict=True)]
        elif work.key.startswith("rival/"):
            cells[work.key] = [
                {rule: list(result) for rule, result in work.cell.play(seeds(1, 1))[0].items()}
            ] if work.key.endswith("5 %/600/5400") else []  # fmt: skip
        elif work.key.startswith("delay/"):
            cells[work.key] = [[100.0 + expected.DELAYS[work.key[6:]], None]] * 100
        elif work.key.startswith("proof/"):
            cells[work.key] = [[None, float(expected.PROOFS[work.key[6:]][0])]] * 100
        else:
            cells[work.key] = [[None, None]] * 100
    return cells


def test_every_section_is_written_and_nothing_deviates(tmp_path):
    page = tmp_path / "calibration.md"
    write(HEAD, invented(), page)
    text = page.read_text()
    for title in TITLES:
        assert f"## {title}" in text
    listed = text.split("cells deviate:")[1].split("What is known")[0]
    assert listed.split() == ["-", "none."]
    assert "nan" not in text


@pytest.mark.parametrize(
    ("key", "results", "said"),
    [
        ("ending/identical/600/5400/A", [["Rollback", 5, ""]] * 100,
         "identical/600/5400/A: rolled back 100 %, expected 0 %"),
        ("ending/errors 2 %/600/5400/B", [["Rollback", 50, ""]] * 100,
         "errors 2 %/600/5400/B: median at look 50, expected 5"),
        ("false/none/600/5400/500/B", [[7.0, None]] * 100,
         "none/600/5400/500/B: false rollback 100 %, expected at most 0 %"),
        ("delay/0.02/A", [[180.0, None]] * 100, "delay 0.02/A: 80 looks, expected 7"),
        ("proof/60/540/0", [[None, None]] * 100,
         "proof 60/540/0: median look never, expected 149"),
        ("falseproof/1.5/600/5400/0.005/B", [[None, 3.0]] * 100,
         "falseproof/1.5/600/5400/0.005/B: wrong proofs 100 %, nominal 5 %"),
    ],
)  # fmt: skip
def test_a_deviation_is_named(tmp_path, key, results, said):
    page = tmp_path / "calibration.md"
    write(HEAD, {**invented(), key: results}, page)
    assert f"- {said}." in page.read_text()


def test_a_rate_carries_its_standard_error():
    assert rate(10, 100) == "10 ± 3 %"
    assert rate(1, 400) == "0.25 ± 0.2 %"
    assert (rate(0, 100), rate(100, 100)) == ("0 %", "100 %")


def test_a_run_becomes_plain_json():
    ending = Cell("errors 5 %", BIG, history=False).play(seeds(1, 2))[0]
    assert _plain(ending) == ["Rollback", ending.look, "HarmDetected"]
    assert _plain((float("inf"), 3.0)) == [None, 3.0]
