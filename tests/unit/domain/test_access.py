"""Scopes narrow a role and never widen it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access import (
    GRANTS,
    READ,
    ROLES,
    SCOPES,
    WRITE,
    RoleInvalid,
    ScopeInvalid,
    effective_scopes,
    expand_scopes,
    may_give,
    parse_role,
    weaker_role,
)

roles = st.sampled_from(ROLES)
scope_lists = st.lists(st.sampled_from(["read", "write", "gone:read", *sorted(SCOPES)]))


@given(roles, scope_lists)
def test_scopes_never_widen_a_role(role, scopes):
    assert effective_scopes(role, scopes) <= GRANTS[role]


@given(roles, scope_lists.filter(bool), scope_lists)
def test_another_scope_never_takes_one_away(role, scopes, more):
    assert effective_scopes(role, scopes) <= effective_scopes(role, [*scopes, *more])


@given(roles)
def test_no_scopes_leave_the_role_as_it_is(role):
    assert effective_scopes(role, []) == GRANTS[role]


def test_a_scope_that_is_known_no_longer_grants_nothing():
    assert effective_scopes("owner", ["gone:read"]) == frozenset()


@given(roles, roles)
def test_the_weaker_of_two_roles_may_do_what_both_may(one, other):
    assert GRANTS[weaker_role(one, other)] == GRANTS[one] & GRANTS[other]


def test_each_role_may_do_more_than_the_next():
    for stronger, weaker in pairwise(ROLES):
        assert GRANTS[weaker] < GRANTS[stronger]
        assert may_give(stronger, weaker)
        assert not may_give(weaker, stronger)
        assert may_give(weaker, weaker)


def test_read_and_write_reach_nothing_that_decides_who_has_access():
    wide = expand_scopes(["read", "write"])
    assert wide == READ | WRITE
    assert not {scope for scope in wide if scope.startswith(("keys", "users", "owners", "audit"))}
    assert GRANTS["viewer"] & WRITE == frozenset()


def test_what_is_no_scope_or_role_is_refused_by_name():
    with pytest.raises(ScopeInvalid, match=r"no scope 'exceptions:eat'.*exceptions:read"):
        expand_scopes(["read", "exceptions:eat"])
    with pytest.raises(RoleInvalid, match="no role 'root'; there are owner, admin"):
        parse_role("root")
    assert parse_role("viewer") == "viewer"
