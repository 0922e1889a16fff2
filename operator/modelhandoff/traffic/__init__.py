"""Routers: how a weight becomes real traffic.

``router`` (what a router can do), ``httproute`` (the operator's own HTTPRoute as a value: built,
patched, read), ``claims`` (which requests a route takes, and who else takes them), ``gateway``
(the router that writes HTTPRoutes).
"""
