"""The command lines: modelhandoff and kubectl-handoff."""
