"""Routers: how a weight becomes real traffic."""
