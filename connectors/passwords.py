"""Passwords: what is taken for one, and Argon2id of it (RFC 9106).

The parameters are the first of OWASP's Password Storage Cheat Sheet, in one thread: 19 MiB and some
20 ms a hash. RFC 9106's own 64 MiB in four threads took 150 to 500 ms on two busy cores, which is a
lever for whoever sends many sign-ins. Run it off the event loop, few at a time.
"""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.errors import SettlerError

LENGTH_MIN = 12
# Longer is nobody's password; without a limit a megabyte of it would be hashed.
LENGTH_MAX = 128
_DISTINCT_MIN = 5

_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Verified in place of a hash that is not there, so that the answer takes as long.
_NOBODYS = _HASHER.hash("the password of nobody")


class PasswordRefused(SettlerError):
    """The password is too easily guessed, or no text that can be typed."""

    code = "users.password_invalid"


def check_password(password: str, email: str) -> None:
    """Hold that a password may be set.

    Raises:
        PasswordRefused: It may not; the sentence says why, never the password.
    """
    name = email.partition("@")[0].casefold()
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        reason = f"has {len(password)} characters; choose {LENGTH_MIN} to {LENGTH_MAX}"
    elif not password.isprintable():
        reason = "holds characters that cannot be typed; leave out line ends and controls"
    elif len(set(password)) < _DISTINCT_MIN:
        reason = f"has fewer than {_DISTINCT_MIN} different characters; choose another"
    elif len(name) >= 4 and name in password.casefold():
        reason = "contains the name in the e-mail address; choose another"
    else:
        return
    raise PasswordRefused(f"the password {reason}")


def hash_password(password: str) -> str:
    """Return what is kept of a password: its Argon2id hash with salt and parameters."""
    return _HASHER.hash(password)


def verify_password(password: str, password_hash: str | None) -> bool:
    """Compare a presented password with its hash; with None the same work is done for nothing."""
    try:
        _HASHER.verify(_NOBODYS if password_hash is None else password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Say whether a hash was made with other parameters than a new one would be."""
    return _HASHER.check_needs_rehash(password_hash)
