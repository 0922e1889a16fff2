"""Kubernetes operator that judges a machine-learning model handoff on real traffic.

Rooms, in the order a handoff passes them: ``api`` (what people write), ``cluster`` and
``metrics`` (what is observed), ``analysis`` (evidence and verdict), ``rollout`` (the next
action), ``traffic`` and ``cluster`` again (the one write), ``controller`` (the loop around it).
"""
