"""Both renderings: structure, hostile texts, nothing from outside, same bytes, bounded size."""

import collections
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from markdown_it import MarkdownIt

from modelhandoff.analysis import Evidence, observe
from modelhandoff.analysis.synthetic import RateTruth, Scenario, Traffic
from modelhandoff.api.vocabulary import Outcome
from modelhandoff.errors import HandoffError
from modelhandoff.report import compose, read, to_html, to_markdown
from modelhandoff.report.document import clean
from modelhandoff.rollout.attempt import Entry
from modelhandoff.rollout.judging import plan_of
from modelhandoff.rollout.measure import Exclusion, Stage
from tests.unit.report.exports import (
    BEGIN,
    DRIFTED,
    PROMOTED,
    ROLLED_BACK,
    at,
    attempt,
    changed,
    ended,
    handoff,
    held,
    spec_of,
    texts,
    untouched,
)

VOID = {"meta", "line", "rect", "path"}
PLAIN = (
    "html head title style body main header h1 h2 p dl div dt dd ul li table thead tbody tr th td",
    "pre i code b time figure figcaption svg text",
)
TAGS = VOID.union(*(part.split() for part in PLAIN))
NAMED = (
    "lang charset http-equiv content name class viewbox width height role aria-label",
    "x y x1 y1 x2 y2 d text-anchor data-name",
)
ATTRIBUTES = set().union(*(part.split() for part in NAMED))
EVERY = [
    ROLLED_BACK,
    PROMOTED,
    attempt(ended(DRIFTED, Outcome.ROLLBACK, "HarmDetected")),
    attempt(held()),
    attempt(untouched(Outcome.REJECT, "CanaryCrashed", "exit code 1")),
    attempt(untouched(Outcome.INITIAL, "Initial", "First."), kind="Initial", ordinal=1),
]


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses what does not nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.open, self.said = [], set(), [], []
        self.rows = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def page(*objects):
    return to_html(compose(read(objects)))


def tokens(text):
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)


def kinds(text):
    """How often each kind of block and inline occurs."""
    found = collections.Counter()
    for token in tokens(text):
        found[token.type] += 1
        found.update(child.type for child in token.children or ())
    return found


@pytest.mark.parametrize("raw", EVERY)
def test_the_page_nests_and_has_only_known_tags(raw):
    found = Page(page(raw))
    assert set(found.tags) <= TAGS
    assert found.attributes <= ATTRIBUTES
    assert found.tags.count("h1") == 1


@pytest.mark.parametrize("raw", EVERY)
def test_nothing_is_fetched_and_nothing_runs(raw):
    text = page(raw)
    assert not re.search(r"(?i)\b(src|href|srcset|action|poster|on[a-z]+)\s*=", text)
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in text
    assert "<script" not in text.lower()


def test_the_page_is_made_for_light_and_dark_and_for_small_screens():
    text = page(ROLLED_BACK)
    assert "prefers-color-scheme:dark" in text
    assert "max-width:720px" in text
    assert 'content="width=device-width, initial-scale=1"' in text
    assert text.count('class="wide"') == text.count('class="narrow"') > 0


def test_sections_come_in_the_order_of_the_questions():
    text = to_markdown(compose(read([ROLLED_BACK])))
    found = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert found == [
        "Metrics at the decision",
        "What was tried",
        "Handoff checklist: 2 of 8",
        "Evidence",
        "Weights over time",
        "Distributions and latency",
        "Timeline",
        "Rules",
        "Ask Prometheus again",
        "What happens next, and how to decide otherwise",
        "What this report rests on",
    ]
    for heading in found:
        assert heading in page(ROLLED_BACK)


@pytest.mark.parametrize("raw", EVERY)
def test_the_same_export_gives_the_same_bytes(raw):
    again = json.loads(json.dumps(raw))
    assert page(raw) == page(again)
    shuffled = {key: again[key] for key in reversed(list(again))}
    assert to_markdown(compose(read([raw]))) == to_markdown(compose(read([shuffled])))


@pytest.mark.parametrize("raw", EVERY)
def test_every_table_is_whole(raw):
    markdown = to_markdown(compose(read([raw])))
    rows, width = [], 0
    for token in tokens(markdown):
        if token.type == "tr_open":
            width = 0
        elif token.type in ("th_open", "td_open"):
            width += 1
        elif token.type == "tr_close":
            rows.append(width)
    assert rows
    assert len(rows) == Page(page(raw)).rows.count(0) + len(rows)
    assert not any(line.startswith("|") and line.count("|") < 3 for line in markdown.splitlines())


HOSTILE = (
    "</td></svg><script>alert(1)</script><img src=x onerror=y> \"'`` ``` | a | b | "
    "[x](javascript:y) ![i](//h) **b** _e_ ~~s~~ # h &lt; \u202egnp \x00\x1b[31m\n\n# H\n- l\n"
)


def _accepted():
    """Every export with one text replaced by a hostile one, as far as it can be read at all."""
    rich = attempt(
        ended(DRIFTED, Outcome.ROLLBACK, "HarmDetected").but(metrics=({
            "name": "errors", "state": "Pending", "needs": "more"},)),
        runbook={"entries": [{"symptom": "s", "diagnose": "d", "remedy": "r"}],
                 "owners": {"rotation": "people"}},
        candidate={"serving": {"env": [{"name": "A", "value": "b"}], "args": ["x"]}},
    )  # fmt: skip
    whole = {"a": rich, "h": handoff(rich["metadata"]["name"], message="m", nextAction="n",
                                     stable={"version": "1", "revision": "r"})}  # fmt: skip
    snapshot = ("a", "spec", "snapshot")
    inner = json.loads(rich["spec"]["snapshot"])
    for path in texts(whole):
        if path != snapshot:
            yield path, changed(whole, path, HOSTILE)
    for path in texts(inner):
        yield (
            ("snapshot", *path),
            changed(whole, snapshot, json.dumps(changed(inner, path, HOSTILE))),
        )


def test_a_hostile_text_in_any_field_stays_text():
    told = []
    plain = None
    for path, objects in _accepted():
        try:
            found = compose(read(objects.values()))
        except HandoffError:
            continue
        seen = Page(to_html(found))
        assert set(seen.tags) <= TAGS, path
        assert seen.attributes <= ATTRIBUTES, path
        said = "".join(seen.said)
        assert "\u202e" not in said, path
        assert "\x1b" not in said, path
        mark = kinds(to_markdown(found))
        for bad in ("html_block", "html_inline", "link_open", "image", "heading_open"):
            plain = plain or kinds(to_markdown(compose(read([PROMOTED]))))
            most = plain["heading_open"] if bad == "heading_open" else 0
            assert mark[bad] <= most, (path, bad)
        assert mark["em_open"] == 0, path
        if "alert(1)" in said:
            told.append(path)
    named = {".".join(str(part) for part in path) for path in told}
    assert "a.status.verdict.message" in named
    assert "a.status.timeline.0.what" in named
    assert "h.status.nextAction" in named
    assert "a.metadata.namespace" in named
    assert "snapshot.spec.runbook.entries.0.remedy" in named
    assert "snapshot.spec.runbook.owners.escalation.0" in named
    assert "snapshot.spec.candidate.serving.env.0.value" in named
    assert len(named) >= 12


def test_hidden_and_reordering_characters_become_visible():
    assert clean("a\u202eb\x00c\ud800d\n e") == "a\ufffdb\ufffdc\ufffdd e"


def test_a_command_is_safe_to_paste():
    raw = changed(PROMOTED, ("metadata", "namespace"), "x; rm -rf $HOME")
    raw = changed(raw, ("metadata", "name"), "y`reboot`")
    text = to_markdown(compose(read([raw])))
    assert "-n 'x; rm -rf $HOME'" in text


def test_the_largest_attempt_stays_below_the_cap():
    worst = "<&" * 160
    stages = tuple(Stage(BEGIN + 60.0 * i, i % 20, i) for i in range(100))
    state = ended(DRIFTED, Outcome.ROLLBACK, "HarmDetected", message=worst * 3).but(
        stages=stages,
        exclusions=tuple(Exclusion(s.start, s.start + 5.0, worst[:63]) for s in stages),
        timeline=tuple(Entry(at(60.0 * i), worst) for i in range(100)),
        evidence="",
    )

    def counter(name):
        matchers = [{"label": f"l{i}", "value": "v" * 200} for i in range(4)]
        return {"metric": name + "m" * 90, "matchers": matchers}

    metrics = [
        {
            "name": f"m{i}",
            "type": "ErrorRate",
            "max": 0.01,
            "counters": {"bad": counter(f"bad{i}"), "total": counter(f"all{i}")},
        }
        for i in range(50)
    ]
    files = [
        {
            "role": "Docs" if i else "Model",
            "uri": "https://m.example/" + "f" * 900 + str(i),
            "digest": "sha256:" + "ab" * 32,
        }
        for i in range(32)
    ]
    entries = [{"symptom": worst, "diagnose": worst * 4, "remedy": worst * 4}] * 30
    raw = attempt(
        state,
        monitoring={"metrics": metrics},
        candidate={"artifacts": files, "serving": {"args": [worst * 8] * 8}},
        runbook={"entries": entries},
    )
    assert len(page(raw).encode()) < 300_000
    assert len(to_markdown(compose(read([raw]))).encode()) < 300_000
    assert "more metrics are asked in the same way" in page(raw)


def test_fifty_judged_metrics_stay_below_the_cap():
    metrics = [{"name": f"m{i}", "type": "ErrorRate", "max": 0.01} for i in range(50)]
    _, spec = spec_of(monitoring={"metrics": metrics})
    truths = {one["name"]: RateTruth(0.004, 0.004) for one in metrics}
    traffic = Traffic(Scenario(6000.0, truths), np.random.default_rng(5), 3)
    plan = plan_of(spec, {})
    found = Evidence.start(plan)
    for look in (1, 2, 3):
        found = observe(plan, found, traffic.interval(look, 0, 10))
    state = ended(DRIFTED, Outcome.ABORT, "Aborted").but(
        evidence=json.dumps(found.to_json()), bins="", metrics=()
    )
    whole = attempt(state, monitoring={"metrics": metrics})
    assert len(page(whole).encode()) < 300_000
    text = to_markdown(compose(read([whole])))
    assert text.count("| m49 |") == 2
