"""Who signed the bundle: the keys that its signature is checked with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from modelhandoff.api.base import SpecModel
from modelhandoff.api.quantities import HINT, Label63, ListOf

MAX_KEYS = 16


class TrustedKey(SpecModel):
    """A public key, and what people call it."""

    name: Label63
    """Name that messages use."""
    public_key: Annotated[
        str,
        StringConstraints(
            pattern=(
                r"^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]{40,800}\n"
                r"-----END PUBLIC KEY-----\n?$"
            ),
            max_length=1024,
        ),
        Field(json_schema_extra={HINT: "a public key in PEM, -----BEGIN PUBLIC KEY-----"}),
    ]
    """An elliptic-curve key, P-256, P-384 or P-521, as PEM."""


class Signature(SpecModel):
    """How the bundle is signed: OpenSSF model signing with a key.

    The signature is the artifact with role Signature. It covers every other artifact, under the
    name by which it is fetched.
    """

    keys: Annotated[tuple[TrustedKey, ...], ListOf(MAX_KEYS, key="name")] = ()
    """Keys one of which must have signed; those that the policy trusts when not set. A policy that
    trusts keys lets a handoff name none but those."""
