"""The same world on a real API server: a fault proxy before it, a mirror of it, hands on it."""
