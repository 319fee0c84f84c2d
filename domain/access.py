"""Who may do what: four roles, and scopes that narrow a role and never widen it.

A scope reads `resource:verb`, such as `exceptions:write`. What a credential may do is what its role
may do, less everything its own scopes leave out; no scopes means nothing is left out. `read` and
`write` alone stand for that verb on everything a reconciliation consists of, but for nothing that
decides who has access: keys, users, the tenant and the audit log are named one by one.
"""

from collections.abc import Iterable
from typing import Literal, get_args

from domain.errors import SettlerError

Role = Literal["owner", "admin", "developer", "viewer"]
#: From the most to the least powerful.
ROLES: tuple[Role, ...] = get_args(Role)

_WORK = (
    "reconciliations", "matches", "exceptions", "transactions", "dead_letters", "usage", "events",
    "commands", "live",
)  # fmt: skip
READ = frozenset(f"{resource}:read" for resource in _WORK)
WRITE = frozenset(f"{resource}:write" for resource in _WORK)
#: Over one's own keys; `keys:manage` reaches everybody's.
OWN_KEYS = frozenset({"keys:read", "keys:write"})
ADMINISTRATION = OWN_KEYS | {
    "keys:manage", "users:read", "users:write", "audit:read", "tenant:read",
}  # fmt: skip
OWNERSHIP = frozenset({"tenant:write", "owners:write"})

SCOPES = READ | WRITE | ADMINISTRATION | OWNERSHIP
_WIDE = {"read": READ, "write": WRITE}

GRANTS: dict[Role, frozenset[str]] = {
    "owner": SCOPES,
    "admin": READ | WRITE | ADMINISTRATION,
    "developer": READ | WRITE | OWN_KEYS | {"tenant:read"},
    "viewer": READ | {"tenant:read"},
}


class ScopeInvalid(SettlerError):
    """A scope that is none."""

    code = "access.scope_invalid"

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"there is no scope {scope[:64]!r}; there are read, write, {', '.join(sorted(SCOPES))}"
        )


class RoleInvalid(SettlerError):
    """A role that is none."""

    code = "access.role_invalid"

    def __init__(self, role: str) -> None:
        super().__init__(f"there is no role {role[:64]!r}; there are {', '.join(ROLES)}")


def parse_role(text: str) -> Role:
    """Read a role.

    Raises:
        RoleInvalid: There is no such role.
    """
    for role in ROLES:
        if role == text:
            return role
    raise RoleInvalid(text)


def expand_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Spell out `read` and `write`.

    Raises:
        ScopeInvalid: One of them is no scope.
    """
    expanded: set[str] = set()
    for scope in scopes:
        if scope in _WIDE:
            expanded |= _WIDE[scope]
        elif scope in SCOPES:
            expanded.add(scope)
        else:
            raise ScopeInvalid(scope)
    return frozenset(expanded)


def effective_scopes(role: Role, scopes: Iterable[str]) -> frozenset[str]:
    """Return what a role with these scopes may do.

    Args:
        role: Whose rights are narrowed.
        scopes: As they were granted; none leave the role as it is. One that is known no longer
            grants nothing, so a stored credential never gains by a change of this list.
    """
    granted = list(scopes)
    if not granted:
        return GRANTS[role]
    known = [scope for scope in granted if scope in _WIDE or scope in SCOPES]
    return GRANTS[role] & expand_scopes(known)


def weaker_role(one: Role, other: Role) -> Role:
    """Return the less powerful of two roles."""
    return max(one, other, key=ROLES.index)


def may_give(giver: Role, given: Role) -> bool:
    """Say whether somebody may give a role: up to their own, and owners are made by owners."""
    return ROLES.index(giver) <= ROLES.index(given)
