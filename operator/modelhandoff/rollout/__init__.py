"""The decision: one snapshot and one verdict in, one action and one status out. Pure.

``snapshot`` (what a pass sees), ``actions`` (what it may do), ``decide`` (the decision itself),
``attempt`` (the attempt's status as a value), ``measure`` (what is to be measured now),
``status`` (the handoff's status, rendered for people).

Public to the controller::

    decide(snapshot, collected, settings) -> Decision
    measurement(snapshot) -> Measurement | None
    plan(snapshot) -> analysis.Plan
"""
