"""The decision: one snapshot and one verdict in, one action and one status out. Pure.

``snapshot`` (what a pass sees), ``actions`` (what it may do), ``decide`` (the decision itself:
start reading there), ``lifecycle`` (which attempt there should be), ``provision`` (until the
candidate is warm), ``progress`` (traffic, step by step, with ``guards``, ``ignorance`` and
``stage``), ``latching`` (ending an attempt), ``finish`` (carrying out a verdict), ``tidying``,
``diagnosis`` (why pods are not ready), ``attempt`` (the attempt's status as a value),
``measure`` and ``judging`` (what to measure, and from intervals to a verdict), ``status``.

How the controller uses it, for one handoff::

    ctx = Context(snapshot, settings)
    wanted = measurement(ctx)              # None: nothing to measure now
    answer = await collector.collect(...)  # at most once per pass
    collected = judge_intervals(ctx.spec, ctx.state, intervals, cursor, now, next_due)
             or Collected(unknown_reason=..., unknown_message=..., next_due=...)
             or judge_again(ctx.spec, ctx.state, now, next_due)  # nothing new was due
    decision = decide(snapshot, collected, settings)
    # one action; after a WriteAttempt make ``collected`` again with judge_again on what was
    # written; repeat until ``decision.action is None``; then write the status if it differs.

``next_due`` and every other wait is in seconds from ``snapshot.now``.
"""
