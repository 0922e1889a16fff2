"""The Kubernetes edge: manifests built from a handoff, and one thin asynchronous client."""
