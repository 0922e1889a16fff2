"""A small Kubernetes API in this process: the semantics that a controller can trip over.

Kept: resource versions, 409 on conflict and on a name that exists, 410 on an old watch, the
status subresource, merge and JSON patch, preconditions, finalizers and deletion timestamps,
owner references, watch replay and bookmarks, label selectors, and a generation that moves with
the spec only. Left out: server-side apply, admission, schemas, defaulting of built-in kinds.
"""
