"""The Kubernetes edge: manifests built from a handoff, and one thin asynchronous client.

``kinds`` (what is read and watched), ``client`` (one request per call), ``login`` (its
configuration), ``store`` (the watch cache), ``observe`` (cache -> snapshot), ``objects``
(spec -> manifests), ``apply`` (action -> write), ``events`` (what people see in ``describe``).

Public to the controller::

    Client(await login.configuration(), gate=..., on_request=...)
    Client.at("http://127.0.0.1:8001", gate=..., on_request=...)
    Store().apply(kind, event_type, raw) -> set[HandoffKey]
    Store().replace(kind, items, resource_version, namespace=None) -> set[HandoffKey]
    observe.snapshot(store, key, now, routes) -> Snapshot | None
    await apply.apply(action, snapshot, client, store, settings, router, urgent=False)
    await events.Poster(client, settings, now).post(event, handoff) -> None

``routes`` and ``router`` are ``modelhandoff.traffic.httproute.HTTPRouteRouter()``.
"""
