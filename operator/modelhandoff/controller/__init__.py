"""The loop: watch, queue, reconcile, leader lease, health."""
