"""The Helm chart before a real Helm."""
