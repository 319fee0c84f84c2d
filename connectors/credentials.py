"""Secrets that are shown once: `{prefix}{id}_{secret}`, of which only a keyed hash is kept.

The id is public and finds the row; of the whole text only HMAC-SHA256 under the server's pepper is
kept. The secret has 256 random bits, so nothing slower is needed: there is nothing to guess that a
slow hash would protect.
"""

import hmac
import secrets
from hashlib import sha256
from typing import NamedTuple

API_KEY = "rk_"
REFRESH_TOKEN = "rt_"  # noqa: S105 - a prefix
ONE_TIME_TOKEN = "ot_"  # noqa: S105 - a prefix

_ID_BYTES = 6
_SECRET_BYTES = 32
_LENGTH_MAX = 128


class NewCredential(NamedTuple):
    """A credential at the one moment it can be shown, and what is kept of it."""

    public_id: str
    text: str
    kept_hash: bytes


def make_credential(prefix: str, pepper: str) -> NewCredential:
    """Make a credential that nobody has seen."""
    public_id = secrets.token_hex(_ID_BYTES)
    text = f"{prefix}{public_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return NewCredential(public_id, text, hash_credential(text, pepper))


def public_id_of(text: str, prefix: str) -> str | None:
    """Return the public part of a presented credential; None when it has not the form of one."""
    if len(text) > _LENGTH_MAX or not text.startswith(prefix):
        return None
    public_id, _, secret = text.removeprefix(prefix).partition("_")
    return public_id if public_id.isalnum() and public_id.isascii() and secret else None


def hash_credential(text: str, pepper: str) -> bytes:
    """Return what is kept: HMAC-SHA256 (RFC 2104) under the pepper, 32 bytes."""
    return hmac.digest(pepper.encode(), text.encode("utf-8", "replace"), sha256)


def credential_matches(text: str, pepper: str, kept_hash: bytes | None) -> bool:
    """Compare a presented credential with what was kept, in time that tells nothing.

    Args:
        text: The whole credential as it was presented.
        pepper: The server's secret, the setting `api_key_pepper`.
        kept_hash: None when there is no such credential; the same work is done all the same.
    """
    return hmac.compare_digest(hash_credential(text, pepper), kept_hash or bytes(32))
