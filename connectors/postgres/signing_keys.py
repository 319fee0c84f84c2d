"""The keys that sign access tokens: Ed25519 (RFC 8032), found by `kid`, sealed at rest.

The private part is kept under AES-256-GCM with a key derived from the server's pepper, so that a
copy of the database alone signs nothing. The newest key signs; one that was rotated out verifies
until the last token it signed has run out.
"""

import os
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg import Connection

from connectors.postgres.queries import load_queries

_SQL = load_queries("signing_keys")
#: An older key signs in some processes for seconds after a rotation; so much longer than a token
#: lives it goes on verifying.
VERIFY_SECONDS_EXTRA = 60
_NONCE_BYTES = 12
_KID_BYTES = 8


class SigningKey(msgspec.Struct, frozen=True):
    """What may be shown of a key; `retires_at` None: it signs."""

    kid: str
    created_at: datetime
    retires_at: datetime | None


class SealedKey(NamedTuple):
    """A new key as it is kept."""

    kid: str
    public_key: bytes
    sealed_private_key: bytes


def make_signing_key(pepper: str) -> SealedKey:
    """Make a key that nobody has seen."""
    private = Ed25519PrivateKey.generate()
    kid = os.urandom(_KID_BYTES).hex()
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(_sealing_key(pepper)).encrypt(nonce, private.private_bytes_raw(), kid.encode())
    return SealedKey(kid, private.public_key().public_bytes_raw(), nonce + sealed)


def unseal(kid: str, sealed: bytes, pepper: str) -> Ed25519PrivateKey | None:
    """Open a kept private key; None when it was sealed under another pepper or kid."""
    nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        raw = AESGCM(_sealing_key(pepper)).decrypt(nonce, text, kid.encode())
    except InvalidTag:
        return None
    return Ed25519PrivateKey.from_private_bytes(raw)


def rotate_signing_keys(conn: Connection[Any], pepper: str, overlap: timedelta) -> str:
    """Make a new key, which signs from now on, and return its kid.

    Args:
        overlap: How long the older ones go on verifying: longer than an access token lives.
    """
    new = make_signing_key(pepper)
    with conn.transaction():
        conn.execute(_SQL["lock_signing_keys"])
        conn.execute(_SQL["add_signing_key"], new._asdict())
        conn.execute(_SQL["retire_signing_keys"], {"kid": new.kid, "overlap": overlap})
        conn.execute(_SQL["drop_signing_keys"])
    return new.kid


def list_signing_keys(conn: Connection[Any]) -> list[SigningKey]:
    """List the keys that sign or verify, newest first."""
    rows = conn.execute(_SQL["read_signing_keys"])
    return [SigningKey(kid, created, retires) for kid, _, _, created, retires in rows]


def _sealing_key(pepper: str) -> bytes:
    derivation = HKDF(SHA256(), 32, salt=None, info=b"settler signing keys")
    return derivation.derive(pepper.encode())
