"""Prometheus: raw counters in, closed intervals of increments out."""
