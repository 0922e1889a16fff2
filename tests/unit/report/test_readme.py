"""The handoff README: nothing is forgotten, nothing breaks it, the same resource = same bytes."""

import re

import pytest
from markdown_it import MarkdownIt

from modelhandoff.api.handoff import ModelHandoffSpec, ModelHandoffStatus
from modelhandoff.api.meta import Condition
from modelhandoff.api.resolve import resolve
from modelhandoff.report import to_html, to_markdown
from modelhandoff.report.readme import (
    LEFT_OUT,
    PURPOSE,
    SECTIONS,
    Outlook,
    Subject,
    compose_readme,
)
from modelhandoff.report.readme.compose import home, leftovers
from modelhandoff.report.readme.people import CHECKLIST
from modelhandoff.report.readme.terms import patterns, terms
from tests import builders
from tests.unit.report.every_term import full_spec, other, replaced

FULL = full_spec()
TERMS = tuple(terms(FULL))
ONE_EACH = {term.pattern: term for term in reversed(TERMS)}
HOSTILE = (
    "|`<script>alert(1)</script>\n\n# Heading\n- item\n```\n</td>[x](y) ![i](u) *b* &amp; \u202e"
)


def subject(spec=FULL, **more):
    return Subject("fraud", "payments", spec, more.pop("annotations", {}), **more)


def written(spec=FULL, **more):
    return to_markdown(compose_readme(subject(spec, **more)))


CALM = written()


def smallest(**overrides):
    return resolve(builders.spec(**overrides))


def test_every_term_of_the_models_is_in_the_sample():
    assert set(ONE_EACH) == set(patterns(ModelHandoffSpec))


@pytest.mark.parametrize("pattern", sorted(ONE_EACH))
def test_every_term_is_told_or_left_out_on_purpose(pattern):
    """A field that no section tells in its own words is listed with its path: see compose.py."""
    same = [term for term in TERMS if term.pattern == pattern]
    changed = (written(replaced(FULL, one.path, other(one.value))) for one in same)
    told = any(text != CALM for text in changed)
    if pattern in LEFT_OUT:
        assert not told
        return
    assert told, (
        f"{pattern} is named in a section's terms, but its blocks do not tell it: let them, or "
        "take it out of the section's terms, and it is listed by itself"
    )


TEXTS = sorted(p for p, term in ONE_EACH.items() if type(term.value) is str and p not in LEFT_OUT)
LISTS = sorted(
    p
    for p, term in ONE_EACH.items()
    if isinstance(term.value, dict)
    or (isinstance(term.value, tuple) and isinstance(term.value[0], str))
)
AGAIN = {"contracts.api.path", "contracts.data.features[].name"}
"""Said a second time in an example of a call."""


@pytest.mark.parametrize("pattern", TEXTS)
def test_a_text_stands_in_the_document_once(pattern):
    body = written(replaced(FULL, ONE_EACH[pattern].path, "qzx7qzx")).split("\n## ", 1)[-1]
    assert body.count("qzx7qzx") == (2 if pattern in AGAIN else 1)


def test_what_a_section_claims_to_tell_exists():
    known = set(patterns(ModelHandoffSpec))
    for section in SECTIONS:
        assert section.shown <= known, f"{section.title}: {sorted(section.shown - known)}"
    assert set(LEFT_OUT) <= known
    assert all(LEFT_OUT.values())


def test_no_two_sections_tell_the_same_term():
    seen = [pattern for section in SECTIONS for pattern in section.shown]
    assert len(seen) == len(set(seen))


def test_a_field_without_words_of_its_own_is_listed_with_its_meaning(monkeypatch):
    """What happens to a field that somebody adds tomorrow."""
    from modelhandoff.report.readme import compose

    blind = tuple(
        compose.Section(one.title, one.tell, one.shown - {"monitoring.source"}, one.roots)
        for one in SECTIONS
    )
    monkeypatch.setattr(compose, "SECTIONS", blind)
    (term,) = leftovers(subject(smallest()))["Monitoring"]
    assert term.path == "monitoring.source"
    row = next(line for line in written(smallest()).split("\n") if "`monitoring.source`" in line)
    assert row == (
        "| `monitoring.source` | default | A metric source that the policy names; never an "
        "address. |"
    )


@pytest.mark.parametrize(
    ("pattern", "title"),
    [
        ("acceptance.fairness[].min", "Metrics and acceptance criteria"),
        ("approvals.roles", "Checklist"),
        ("governance.modelCard.artifactRole", "Responsible AI and compliance"),
        ("candidate.signature.mode", "Artifacts"),
        ("contracts.api.rateLimit.requestsPerSecond", "API"),
        ("monitoring.slos.dashboard", "Monitoring"),
        ("monitoring.metrics[].labelDelay", "Metrics and acceptance criteria"),
        ("somethingNew", "Further terms"),
    ],
)
def test_new_terms_have_a_home(pattern, title):
    assert home(pattern) == title


def test_the_smallest_handoff_reads_as_a_handoff():
    text = written(smallest(), annotations={PURPOSE: "Flags risky transactions."})
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Purpose", "Artifacts", "Environment", "Data schema", "API",
        "Metrics and acceptance criteria", "Rollout", "Monitoring", "Runbook", "Owners",
        "Responsible AI and compliance", "Checklist",
    ]  # fmt: skip
    for told in (
        "# Handoff: fraud-classifier 1.4.0",
        "Flags risky transactions.",
        "at most 1 % of the requests fail",
        "95 % of the requests are answered within 30 ms",
        "Silence never promotes.",
        "kubectl handoff abort fraud -n payments",
        "`#risk-oncall`",
        "- [ ] Sign-off from product, data science and engineering leads",
    ):
        assert told in text


def test_the_checklist_is_ticked_by_the_status_of_this_spec_only():
    condition = Condition.model_validate(
        {
            "type": "ArtifactsVerified",
            "status": "True",
            "reason": "DigestsMatch",
            "message": "Every artifact has its declared SHA-256.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    )
    refused = condition.model_copy(
        update={"type": "Approved", "status": "False", "message": "Engineering has not signed."}
    )
    status = ModelHandoffStatus(observed_generation=3, conditions=(condition, refused))
    text = written(smallest(), status=status, current=True)
    assert "- [x] Artifacts packaged and versioned" in text
    assert "Engineering has not signed." in text
    assert text.count("- [ ] ") == len(CHECKLIST) - 1
    assert "1 of 8. What is not declared is not ticked." in text
    edited = written(smallest(), status=status, current=False)
    assert "- [x]" not in edited
    assert "nothing is known of it yet" in edited


def test_the_same_subject_gives_the_same_bytes():
    assert written() == written(full_spec())


def structure(text):
    """Kinds of blocks, and of cells of tables, in order."""
    parsed = MarkdownIt("commonmark").enable("table").parse(text)
    return [token.type for token in parsed if token.type != "softbreak"]


@pytest.mark.parametrize("pattern", [*TEXTS, *LISTS])
def test_a_hostile_text_breaks_nothing(pattern):
    term = ONE_EACH[pattern]

    def told(words):
        many = {words: words} if isinstance(term.value, dict) else (words,)
        value = words if pattern in TEXTS else many
        return written(replaced(FULL, term.path, value))

    text = told(HOSTILE)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    assert not any(token.type == "html_block" for token in tokens)
    assert not any(child.type in ("html_inline", "link_open", "image") for child in inline)
    if pattern != "rollout.rollbackPlan":  # Its lines stay lines.
        assert structure(text) == structure(told("calm words"))
    assert "\u202e" not in text


def test_a_hostile_purpose_breaks_nothing():
    text = written(annotations={PURPOSE: HOSTILE}, spec=smallest())
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    assert not any(token.type == "html_block" for token in tokens)
    assert sum(token.type == "heading_open" for token in tokens) == 1 + 12
    until = next(at for at, token in enumerate(tokens) if token.type == "bullet_list_open")
    assert {token.type for token in tokens[:until]} <= {
        "heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline",
    }  # fmt: skip


def test_no_outlook_no_promise():
    assert "How long the proofs take" not in written(smallest())
    assert "How long the proofs take" not in written(smallest(), outlooks=())


def test_an_outlook_without_numbers_says_so():
    from modelhandoff.analysis.forecast import MetricForecast
    from modelhandoff.analysis.planner import Needs

    never = Needs(float("inf"), float("inf"), float("inf"))
    metrics = (
        MetricForecast("errors", safe_most=never),
        MetricForecast("latency", safe_most=Needs(40, 1080, 1200)),
        MetricForecast("scores"),
    )
    text = written(smallest(), outlooks=(Outlook(10.0, metrics),))
    assert "| errors | never at this rate |" in text
    assert "| latency | 20 min, 1,080 requests |" in text
    assert "| scores |" not in text


def test_the_document_can_be_a_page_too():
    page = to_html(compose_readme(subject(smallest())))
    assert "\u2610 " in page


def test_the_points_of_the_readme_are_the_conditions_in_their_order():
    from modelhandoff.api.vocabulary import CHECKLIST as POINTS

    assert [kind for kind, _ in CHECKLIST] == [str(point) for point in POINTS]
