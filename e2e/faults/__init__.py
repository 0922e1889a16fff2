"""What goes wrong, by real means: a lying Prometheus, servers that die, frozen processes."""
