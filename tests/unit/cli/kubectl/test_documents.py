"""``readme``: from the cluster, with the policy's presets and the state of the checklist."""

from tests.unit.cli.kubectl.world import Story


def policy(server, **spec):
    server.add("handoffpolicies", {"metadata": {"name": "default"}, "spec": spec})


def test_the_readme_has_the_terms_and_the_state(server, call):
    Story(server).judged().write("10 % on 1.4.0: no harm found.", weight=10)
    found = call("readme", "fraud")
    assert found.code == 0
    assert "# Handoff: fraud-classifier 1.4.0" in found.out
    assert "- **Where it is**: 10 % on 1.4.0: no harm found." in found.out
    assert "ModelHandoff payments/fraud" in found.out


def test_presets_of_the_policy_are_terms(server, call):
    Story(server).judged().write("x", weight=10)
    policy(server, defaults={"scaleDownDelay": "77m"})
    assert "stays warm for 1h17m" in call("readme", "fraud").out


def test_a_policy_that_may_not_be_read_is_said(server, call):
    spec = Story(server).spec | {"policyRef": {"name": "strict"}}
    Story(server, spec=spec).judged().write("x", weight=10)
    server.refused["GET", "/apis/modelhandoff.dev/v1alpha1/handoffpolicies"] = (403, "no")
    found = call("readme", "fraud")
    assert found.code == 0
    assert found.err == "policy strict cannot be read: what it presets is shown as not set\n"


def test_a_handoff_that_is_not_legal_names_the_field(server, call):
    story = Story(server)
    handoff = story.plain()
    handoff["spec"]["monitoring"]["interval"] = "often"
    server.add("modelhandoffs", handoff)
    assert "spec.monitoring.interval: not a duration; got often" in call("readme", "fraud").line
