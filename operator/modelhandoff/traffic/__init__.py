"""Routers: how a weight becomes real traffic.

``router`` (what a router can do), ``httproute`` (the one that writes HTTPRoutes), ``manifest``
(such a route as a value: built, patched, read), ``claims`` (which requests a route takes, and
who else takes them).
"""
