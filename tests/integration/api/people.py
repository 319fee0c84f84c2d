"""Users of tests: made in the database, signed in over HTTP."""

import itertools
import uuid
from dataclasses import dataclass
from functools import cache

import httpx

from connectors.passwords import hash_password
from connectors.postgres.tenants import create_key
from connectors.postgres.users import create_user
from tests.integration.api.rows import PASSWORD, PEPPER

NUMBERS = itertools.count(1)


@cache
def password_hash() -> str:
    """Hash the password of all of them once: that is slow on purpose."""
    return hash_password(PASSWORD)


@dataclass
class Person:
    """A user who can sign in; each has an address of its own."""

    served: object
    tenant_id: str
    email: str
    user_id: uuid.UUID

    def credentials(self, **changes: object) -> dict[str, object]:
        return {"tenant_id": self.tenant_id, "email": self.email, "password": PASSWORD} | changes

    def try_to_sign_in(self, **changes: object) -> httpx.Response:
        with self.served.client() as anonymous:
            return anonymous.post("/api/v1/auth/sign-in", json=self.credentials(**changes))

    def sign_in(self, **changes: object) -> dict[str, object]:
        answer = self.try_to_sign_in(**changes)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def client(self, **changes: object) -> httpx.Client:
        """A client with a session of this person's."""
        return bearing(self.served, self.sign_in(**changes)["access_token"])


def bearing(served, token: str) -> httpx.Client:
    """A client with a bearer token or key."""
    client = served.client()
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def add_person(served, role: str = "developer", tenant_id: str = "acme", **fields) -> Person:
    email = f"person-{next(NUMBERS)}@{tenant_id}.example"
    with served.connect() as connection:
        user = create_user(connection, tenant_id, email, role, "A person", None)
        if fields.get("password", PASSWORD) is not None:
            connection.execute(
                "UPDATE users SET password_hash = %s WHERE user_id = %s",
                (password_hash(), user.user_id),
            )
    return Person(served, tenant_id, email, user.user_id)


def key_of(served, role: str, scopes: list[str] | None = None, tenant_id: str = "acme") -> str:
    with served.connect() as connection:
        return create_key(connection, tenant_id, "tests", scopes or [], PEPPER, role=role).key
