"""Passwords, access tokens and refresh tokens: what opens, for how long, and what ends it."""

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.signing_in import ATTEMPTS_MAX
from connectors.postgres.signing_keys import list_signing_keys, rotate_signing_keys, unseal
from connectors.postgres.tenants import suspend_tenant
from connectors.postgres.users import change_user, set_password
from tests.integration.api.people import add_person, bearing
from tests.integration.api.rows import PASSWORD, PEPPER, add_tenant

ME = "/api/v1/me"
REFRESH = "/api/v1/auth/refresh"


@pytest.fixture
def person(served):
    return add_person(served)


def refresh(served, token):
    with served.client() as anonymous:
        return anonymous.post(REFRESH, json={"refresh_token": token})


def opens(served, access_token) -> bool:
    with bearing(served, access_token) as client:
        return client.get(ME).status_code == 200


def audit_of(served, person) -> list[str]:
    with served.connect() as connection:
        rows = connection.execute(
            "SELECT action FROM audit_log WHERE target = %s ORDER BY audit_id",
            (str(person.user_id),),
        )
        return [action for (action,) in rows]


def test_a_password_opens_what_the_role_may(served, person):
    pair = person.sign_in()
    assert pair["token_type"] == "Bearer"
    assert pair["expires_in"] == 600
    with bearing(served, pair["access_token"]) as client:
        me = client.get(ME).json()
        assert me["tenant_id"] == "acme"
        assert (me["email"], me["role"]) == (person.email, "developer")
        assert (me["user_id"], me["key_id"]) == (str(person.user_id), None)
        assert me["scopes"] == pair["scopes"]
        assert client.get("/api/v1/reconciliations").status_code == 200
        assert client.get("/api/v1/users").json()["error"] == "forbidden"
    assert audit_of(served, person) == ["signed_in"]


def test_scopes_asked_for_narrow_the_session(served):
    person = add_person(served, "owner")
    with person.client(scopes=["exceptions:read"]) as client:
        assert client.get(ME).json()["scopes"] == ["exceptions:read"]
        assert client.get("/api/v1/exceptions").status_code == 200
        assert client.get("/api/v1/matches").json()["error"] == "forbidden"
    viewer = add_person(served, "viewer")
    with viewer.client(scopes=["write", "users:read"]) as client:
        assert client.get(ME).json()["scopes"] == []
    assert viewer.try_to_sign_in(scopes=["everything"]).json()["error"] == "invalid_parameter"


@pytest.mark.parametrize(
    "change",
    [{"password": "wrong horse battery"}, {"password": ""}, {"email": "nobody@acme.example"},
     {"tenant_id": "globex"}, {"tenant_id": "nobody"}],
)  # fmt: skip
def test_what_is_wrong_is_not_told(person, change):
    answer = person.try_to_sign_in(**change)
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_credentials"
    assert answer.json()["message"] == person.try_to_sign_in(password="x").json()["message"]


def test_a_user_without_a_password_cannot_sign_in(served):
    person = add_person(served, password=None)
    assert person.try_to_sign_in(password="").status_code == 401


def test_too_many_guesses_lock_the_user_for_the_right_password_too(served, person):
    with ThreadPoolExecutor(4) as pool:
        guesses = list(
            pool.map(lambda n: person.try_to_sign_in(password=f"guess {n}"), range(ATTEMPTS_MAX))
        )
    assert {guess.status_code for guess in guesses} == {401}
    assert person.try_to_sign_in().json()["error"] == "invalid_credentials"
    assert "user_locked" in audit_of(served, person)
    with served.connect() as connection:
        connection.execute(
            "UPDATE users SET locked_until = now() - interval '1 s' WHERE user_id = %s",
            (person.user_id,),
        )
    # The count begins anew, and a right password ends it.
    assert person.try_to_sign_in(password="guess").status_code == 401
    for _ in range(2):
        person.sign_in()
    with served.connect() as connection:
        counted = connection.execute(
            "SELECT failed_attempts, locked_until FROM users WHERE user_id = %s", (person.user_id,)
        ).fetchone()
    assert counted == (0, None)


def test_an_operator_ends_a_lock_with_a_new_password(served, person):
    for _ in range(ATTEMPTS_MAX):
        person.try_to_sign_in(password="guess")
    with served.connect() as connection:
        set_password(connection, "acme", person.email, "another horse battery")
    assert person.try_to_sign_in().status_code == 401
    person.sign_in(password="another horse battery")


# Refreshing ---------------------------------------------------------------------------------


def test_a_refresh_token_gives_the_next_pair(served, person):
    first = person.sign_in(scopes=["read"])
    second = refresh(served, first["refresh_token"]).json()
    assert second["session_id"] == first["session_id"]
    assert second["scopes"] == first["scopes"]
    assert second["refresh_token"] != first["refresh_token"]
    assert opens(served, second["access_token"])
    third = refresh(served, second["refresh_token"])
    assert third.status_code == 200


def test_a_refresh_token_used_twice_ends_the_session(served, person):
    first = person.sign_in()
    second = refresh(served, first["refresh_token"]).json()
    assert opens(served, second["access_token"])
    stolen = refresh(served, first["refresh_token"])
    assert stolen.status_code == 401
    assert stolen.json()["error"] == "session_ended"
    assert refresh(served, second["refresh_token"]).json()["error"] == "session_ended"
    assert not opens(served, second["access_token"])
    assert not opens(served, first["access_token"])
    assert audit_of(served, person) == ["signed_in", "session_revoked"]
    # Another session of the same person goes on.
    assert opens(served, person.sign_in()["access_token"])


def test_of_two_uses_at_once_one_is_the_second(served, person):
    token = person.sign_in()["refresh_token"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: refresh(served, token), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    (won,) = [answer for answer in answers if answer.status_code == 200]
    assert refresh(served, won.json()["refresh_token"]).status_code == 401


def test_a_refresh_token_that_ran_out_gives_nothing(served, person):
    pair = person.sign_in()
    with served.connect() as connection:
        connection.execute(
            "UPDATE user_tokens SET expires_at = now() WHERE user_id = %s", (person.user_id,)
        )
    assert refresh(served, pair["refresh_token"]).status_code == 401


@pytest.mark.parametrize("token", ["", "rt_", "rt_abc_def", "rt_\x00_x", "rk_abc_def", "x" * 128])
def test_what_is_no_refresh_token_gives_nothing(served, token):
    assert refresh(served, token).json()["error"] == "session_ended"


def test_a_refresh_token_with_another_secret_gives_nothing_and_ends_nothing(served, person):
    pair = person.sign_in()
    wrong = pair["refresh_token"][:-1] + ("A" if pair["refresh_token"][-1] != "A" else "B")
    assert refresh(served, wrong).status_code == 401
    assert refresh(served, pair["refresh_token"]).status_code == 200


def test_tokens_are_kept_as_hashes(served, person):
    pair = person.sign_in()
    secret = pair["refresh_token"].split("_", 2)[2]
    with served.connect() as connection:
        for table in ("users", "user_sessions", "user_tokens", "audit_log", "signing_keys"):
            for (row,) in connection.execute(f"SELECT to_jsonb({table})::text FROM {table}"):
                assert secret not in row
                assert pair["access_token"] not in row
                assert PASSWORD not in row


# Ending -------------------------------------------------------------------------------------


def test_signing_out_ends_the_session_at_once(served, person):
    pair = person.sign_in()
    with bearing(served, pair["access_token"]) as client:
        assert client.get(ME).status_code == 200
        assert client.post("/api/v1/auth/sign-out").status_code == 204
        assert client.get(ME).status_code == 401
    assert refresh(served, pair["refresh_token"]).status_code == 401


def test_sessions_are_listed_and_revoked_by_their_owner_alone(served, person):
    other = add_person(served)
    first, second = person.sign_in(), person.sign_in()
    with other.client() as stranger:
        foreign = stranger.delete(f"{ME}/sessions/{first['session_id']}")
        assert foreign.json()["error"] == "not_found"
    with bearing(served, second["access_token"]) as client:
        listed = client.get(f"{ME}/sessions").json()["items"]
        assert [item["session_id"] for item in listed] == [
            second["session_id"], first["session_id"],
        ]  # fmt: skip
        assert [item["is_this"] for item in listed] == [True, False]
        assert listed[0]["address"] == "127.0.0.1"
        assert listed[0]["user_agent"].startswith("python-httpx")
        assert client.delete(f"{ME}/sessions/{first['session_id']}").status_code == 204
        assert len(client.get(f"{ME}/sessions").json()["items"]) == 1
        assert client.delete(f"{ME}/sessions/{first['session_id']}").status_code == 404
    assert not opens(served, first["access_token"])


def test_a_new_password_ends_the_other_sessions(served, person):
    other, this = person.sign_in(), person.sign_in()
    new = "a quite different one"
    with bearing(served, this["access_token"]) as client:
        wrong = client.post(f"{ME}/password", json={"current_password": "no such", "password": new})
        assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_credentials")
        weak = client.post(
            f"{ME}/password", json={"current_password": PASSWORD, "password": "weak"}
        )
        assert (weak.status_code, weak.json()["error"]) == (422, "password_refused")
        done = client.post(f"{ME}/password", json={"current_password": PASSWORD, "password": new})
        assert done.status_code == 204
        assert client.get(ME).status_code == 200
    assert not opens(served, other["access_token"])
    assert person.try_to_sign_in().status_code == 401
    person.sign_in(password=new)
    assert audit_of(served, person).count("change_password") == 1


def test_the_current_password_cannot_be_guessed_from_an_open_session(served, person):
    with person.client() as client:
        for number in range(ATTEMPTS_MAX):
            client.post(
                f"{ME}/password", json={"current_password": f"{number}", "password": "x" * 12}
            )
        right = client.post(
            f"{ME}/password", json={"current_password": PASSWORD, "password": "new horse battery"}
        )
    assert right.json()["error"] == "invalid_credentials"


def test_what_belongs_to_a_user_is_not_a_keys(served, client):
    for method, path in (("GET", "/me/sessions"), ("POST", "/auth/sign-out"),
                         ("DELETE", f"/me/sessions/{served.acme.ids['session']}"),
                         ("POST", "/auth/email-verification")):  # fmt: skip
        assert client.request(method, f"/api/v1{path}").json()["error"] == "user_required"


def test_a_suspended_tenants_people_and_tokens_open_nothing(served):
    with served.connect() as connection:
        add_tenant(connection, "initech")
    person = add_person(served, tenant_id="initech")
    pair = person.sign_in()
    with served.connect() as connection:
        suspend_tenant(connection, "initech")
    assert person.try_to_sign_in().json()["error"] == "invalid_credentials"
    assert refresh(served, pair["refresh_token"]).json()["error"] == "session_ended"
    assert not opens(served, pair["access_token"])
    with served.connect() as connection:
        suspend_tenant(connection, "initech", suspended=False)
    # What was refused for the tenant's sake was not used up.
    assert refresh(served, pair["refresh_token"]).status_code == 200


def test_a_disabled_users_tokens_open_nothing(served, person):
    pair = person.sign_in()
    with served.connect() as connection:
        change_user(connection, "acme", person.email, disabled=True)
    assert not opens(served, pair["access_token"])
    assert person.try_to_sign_in().status_code == 401


# Forgeries ----------------------------------------------------------------------------------


def part(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.fixture
def signed(served, person):
    """Makes tokens as the service does, but with other claims, headers or keys."""
    token = person.sign_in()["access_token"]
    header, claims = (
        jwt.get_unverified_header(token),
        jwt.decode(token, options={"verify_signature": False}),
    )
    with served.connect() as connection:
        sealed = connection.execute(
            "SELECT sealed_private_key FROM signing_keys WHERE kid = %s", (header["kid"],)
        ).fetchone()[0]
    ours = unseal(header["kid"], bytes(sealed), PEPPER)

    def sign(key=ours, algorithm="EdDSA", headers=None, without=None, **changed):
        kept = {name: value for name, value in (claims | changed).items() if name != without}
        return jwt.encode(kept, key, algorithm, {**header, "alg": algorithm, **(headers or {})})

    assert opens(served, sign())
    return sign


@pytest.mark.parametrize(
    "changed",
    [{"exp": 1}, {"iss": "another"}, {"aud": "another"}, {"tid": "globex"}, {"sub": "0" * 32},
     {"sid": "00000000-0000-4000-8000-000000000000"}, {"sid": 7}, {"sub": None}, {"exp": "soon"},
     {"tid": ["acme"]}, {"iat": int(time.time()) + 9_000}]
    + [{"without": name} for name in ("exp", "iat", "iss", "aud", "sub", "tid", "sid", "jti")],
)  # fmt: skip
def test_a_token_with_other_claims_opens_nothing(served, signed, changed):
    assert not opens(served, signed(**changed))


def test_a_token_that_another_key_signed_opens_nothing(served, signed):
    assert not opens(served, signed(key=Ed25519PrivateKey.generate()))
    assert not opens(served, signed(headers={"kid": "0" * 16}))
    assert not opens(served, signed(headers={"typ": "JWT"}))
    assert not opens(served, signed(headers={"kid": "../../etc/passwd"}))


def test_an_algorithm_of_the_senders_choice_opens_nothing(served, signed):
    header, claims, signature = signed().split(".")
    none = part({**jwt.get_unverified_header(signed()), "alg": "none"})
    assert not opens(served, f"{none}.{claims}.")
    assert not opens(served, f"{none}.{claims}.{signature}")
    with served.client() as anonymous:
        (public, *_) = anonymous.get("/api/v1/auth/keys").json()["keys"]
    raw = base64.urlsafe_b64decode(public["x"] + "=")
    # The public key as the secret of an HMAC: the classic confusion.
    for secret in (raw, public["x"].encode()):
        head = part({**jwt.get_unverified_header(signed()), "alg": "HS256"})
        mac = hmac.digest(secret, f"{head}.{claims}".encode(), hashlib.sha256)
        forged = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        assert not opens(served, f"{head}.{claims}.{forged}")
    assert not opens(served, f"{header}.{claims}")
    assert not opens(served, "..")
    assert not opens(served, "x" * 4000)


def test_others_can_verify_a_token_with_the_published_key(served, person):
    token = person.sign_in()["access_token"]
    with served.client() as anonymous:
        keys = anonymous.get("/api/v1/auth/keys").json()
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, ["EdDSA"], audience="settler-api", issuer="settler")
    assert claims["tid"] == "acme"
    assert all("d" not in key for key in keys["keys"])


# Signing keys -------------------------------------------------------------------------------


def test_after_a_rotation_old_tokens_go_on_and_new_ones_have_the_new_kid(served, person):
    old = person.sign_in()
    with served.connect() as connection:
        kid = rotate_signing_keys(connection, PEPPER, timedelta(seconds=600))
        kinds = [(key.kid == kid, key.retires_at is None) for key in list_signing_keys(connection)]
    assert (True, True) in kinds
    assert all(is_new == signs for is_new, signs in kinds)
    # What is read of the keys is ten seconds old at most; a kid it has not seen is looked up.
    with served.connect() as connection:
        sealed, *_ = connection.execute(
            "SELECT sealed_private_key FROM signing_keys WHERE kid = %s", (kid,)
        ).fetchone()
    claims = jwt.decode(old["access_token"], options={"verify_signature": False})
    headers = {"kid": kid, "typ": "at+jwt"}
    new = jwt.encode(claims | {"jti": "x"}, unseal(kid, bytes(sealed), PEPPER), "EdDSA", headers)
    deadline = time.monotonic() + 5
    while not opens(served, new):
        assert time.monotonic() < deadline
    assert opens(served, old["access_token"])
