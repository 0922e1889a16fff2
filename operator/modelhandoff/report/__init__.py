"""Evidence rendered for people."""
