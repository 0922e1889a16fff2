"""Figures of the operator on a real API server: what it asks, writes, costs, and how soon it acts.

``python -m e2e.bench`` starts a control plane (no nodes), the operator as a process of its own
with the rights of the chart, a Prometheus stand-in whose counters can be changed at run time, and
played kubelet and gateway; then it counts in the request log. See ``docs/performance.md``.
"""
