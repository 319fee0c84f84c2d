"""The people of a tenant: invited by mail, given roles, disabled; their codes and addresses."""

import threading

import pytest

from tests.integration.api.people import add_person, bearing, key_of
from tests.integration.api.serving import serving
from tests.mailbox import Mailbox

USERS = "/api/v1/users"
NEW = "a new long password"


@pytest.fixture(scope="module")
def mailbox():
    with Mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def served(served, mailbox, api_settings):
    """The API with a mail server behind it."""
    settings = api_settings(
        database_url=served.database_url, mail_url=mailbox.url, mail_from="Settler <s@example.com>"
    )
    with serving(settings) as url:
        yield type(served)(url, served.database_url, served.acme, served.globex)


@pytest.fixture
def owner(served):
    with bearing(served, served.acme.key) as client:
        yield client


def anonymous_post(served, path, **body):
    with served.client() as anonymous:
        return anonymous.post(f"/api/v1/auth/{path}", json=body)


def test_an_invited_person_sets_the_password_with_the_code(served, owner, mailbox):
    answer = owner.post(
        USERS, json={"email": "Grace@Acme.Example", "name": "Grace", "role": "admin"}
    )
    user = answer.json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{USERS}/{user['user_id']}"
    assert (user["email"], user["role"], user["status"]) == (
        "grace@acme.example",
        "admin",
        "active",
    )
    code = mailbox.next_code()
    weak = anonymous_post(served, "password", code=code, password="weak")
    assert weak.json()["error"] == "password_refused"
    assert anonymous_post(served, "password", code=code, password=NEW).status_code == 204
    again = anonymous_post(served, "password", code=code, password=NEW + "!")
    assert (again.status_code, again.json()["error"]) == (400, "invalid_token")
    signed_in = anonymous_post(
        served, "sign-in", tenant_id="acme", email="grace@acme.example", password=NEW
    )
    assert signed_in.json()["role"] == "admin"
    assert owner.get(answer.headers["location"]).json()["email_verified_at"] is not None
    twice = owner.post(USERS, json={"email": "grace@acme.example", "name": "Another"})
    assert (twice.status_code, twice.json()["error"]) == (409, "user_exists")


def test_one_address_may_belong_to_two_tenants(served, owner, mailbox):
    with bearing(served, served.globex.key) as globex:
        for client in (owner, globex):
            answer = client.post(USERS, json={"email": "both@example.com", "name": "Both"})
            assert answer.status_code == 201
            mailbox.next()


def test_a_forgotten_password_is_set_anew(served, mailbox):
    person = add_person(served)
    pair = person.sign_in()
    asked = anonymous_post(served, "password-reset", tenant_id="acme", email=person.email)
    assert asked.status_code == 202
    first = mailbox.next_code()
    # One mail a minute, and the same answer.
    assert (
        anonymous_post(served, "password-reset", tenant_id="acme", email=person.email).json()
        == asked.json()
    )
    assert mailbox.mails.empty()
    with served.connect() as connection:
        connection.execute(
            "UPDATE user_tokens SET created_at = now() - interval '2 min' WHERE user_id = %s",
            (person.user_id,),
        )
    anonymous_post(served, "password-reset", tenant_id="acme", email=person.email.upper())
    second = mailbox.next_code()
    voided = anonymous_post(served, "password", code=first, password=NEW)
    assert voided.json()["error"] == "invalid_token"
    assert anonymous_post(served, "password", code=second, password=NEW).status_code == 204
    assert person.try_to_sign_in().status_code == 401
    person.sign_in(password=NEW)
    with bearing(served, pair["access_token"]) as client:
        assert client.get("/api/v1/me").status_code == 401


def test_nobody_learns_whether_there_is_such_a_user(served, mailbox):
    known = add_person(served)
    answers = [
        anonymous_post(served, "password-reset", tenant_id=tenant, email=email)
        for tenant, email in (("acme", known.email), ("acme", "no@acme.example"), ("no", "x@y.zz"))
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, answers[0].text)}
    assert mailbox.next()["To"] == known.email
    assert mailbox.mails.empty()


@pytest.mark.parametrize("code", ["", "ot_", "ot_abc_def", "rt_abc_def", "ot_\x00_x"])
def test_what_is_no_code_sets_nothing(served, code):
    for path, more in (("password", {"password": NEW}), ("email", {})):
        answer = anonymous_post(served, path, code=code, **more)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_token")


def test_a_code_is_good_for_its_purpose_and_time_alone(served, mailbox):
    person = add_person(served)
    with person.client() as client:
        assert client.post("/api/v1/auth/email-verification").status_code == 202
    code = mailbox.next_code()
    assert anonymous_post(served, "password", code=code, password=NEW).status_code == 400
    with served.connect() as connection:
        connection.execute(
            "UPDATE user_tokens SET expires_at = now() WHERE user_id = %s AND purpose = 'email'",
            (person.user_id,),
        )
    assert anonymous_post(served, "email", code=code).status_code == 400
    person.sign_in()


def test_an_address_is_verified_with_the_code(served, mailbox):
    person = add_person(served)
    with person.client() as client:
        assert client.get("/api/v1/me").json()["email_verified_at"] is None
        client.post("/api/v1/auth/email-verification")
        assert anonymous_post(served, "email", code=mailbox.next_code()).status_code == 204
        assert client.get("/api/v1/me").json()["email_verified_at"] is not None
        assert client.post("/api/v1/auth/email-verification").status_code == 202
    assert mailbox.mails.empty()


def test_a_mail_server_that_is_away_fails_nobodys_request(served, api_settings):
    person = add_person(served)
    settings = api_settings(database_url=served.database_url, mail_url="smtp://127.0.0.1:1")
    with serving(settings) as url:
        away = type(served)(url, served.database_url, served.acme, served.globex)
        asked = anonymous_post(away, "password-reset", tenant_id="acme", email=person.email)
    assert asked.status_code == 202


# Roles --------------------------------------------------------------------------------------


def test_a_role_is_given_up_to_ones_own(served, mailbox):
    developer, colleague = add_person(served), add_person(served, "owner")
    with bearing(served, key_of(served, "admin")) as admin:
        path = f"{USERS}/{developer.user_id}"
        assert admin.patch(path, json={"role": "admin"}).json()["role"] == "admin"
        assert admin.patch(path, json={"role": "owner"}).json()["error"] == "forbidden"
        owners = f"{USERS}/{colleague.user_id}"
        for change in ({"role": "viewer"}, {"disabled": True}, {"name": "Mine"}):
            assert admin.patch(owners, json=change).json()["error"] == "forbidden"
        assert admin.delete(f"{owners}/sessions").json()["error"] == "forbidden"
        new = {"email": "new-owner@acme.example", "name": "New", "role": "owner"}
        assert admin.post(USERS, json=new).json()["error"] == "forbidden"
    assert mailbox.mails.empty()


def test_a_changed_role_holds_for_open_sessions(served, owner):
    person = add_person(served, "admin")
    with person.client() as client:
        assert client.get(USERS).status_code == 200
        owner.patch(f"{USERS}/{person.user_id}", json={"role": "developer"})
        assert client.get(USERS).json()["error"] == "forbidden"
        owner.patch(f"{USERS}/{person.user_id}", json={"disabled": True})
        assert client.get("/api/v1/me").status_code == 401
    assert owner.get(f"{USERS}/{person.user_id}").json()["status"] == "disabled"
    assert person.try_to_sign_in().status_code == 401
    owner.patch(f"{USERS}/{person.user_id}", json={"disabled": False})
    person.sign_in()


def test_the_last_owner_stays(served):
    with served.connect() as connection:
        connection.execute("UPDATE users SET role = 'admin' WHERE tenant_id = 'globex'")
    owners = [add_person(served, "owner", "globex") for _ in range(2)]
    with bearing(served, served.globex.key) as client:
        paths = [f"{USERS}/{person.user_id}" for person in owners]
        barrier = threading.Barrier(2)
        answers = []

        def step_down(path):
            with bearing(served, served.globex.key) as own:
                barrier.wait()
                answers.append(own.patch(path, json={"role": "viewer"}).status_code)

        threads = [threading.Thread(target=step_down, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [200, 409]
        (last,) = [path for path in paths if client.get(path).json()["role"] == "owner"]
        refused = client.patch(last, json={"disabled": True})
        assert refused.json()["error"] == "last_owner"
        assert client.patch(last, json={"name": "Still here"}).status_code == 200


def test_an_administrator_sees_and_ends_sessions(served, owner):
    person = add_person(served)
    with person.client() as client:
        listed = owner.get(f"{USERS}/{person.user_id}/sessions").json()["items"]
        assert [item["is_this"] for item in listed] == [False]
        assert owner.delete(f"{USERS}/{person.user_id}/sessions").status_code == 204
        assert client.get("/api/v1/me").status_code == 401
    assert owner.get(f"{USERS}/{person.user_id}/sessions").json()["items"] == []


def test_a_locked_user_is_shown_as_locked(served, owner):
    person = add_person(served)
    for _ in range(5):
        person.try_to_sign_in(password="guess")
    assert owner.get(f"{USERS}/{person.user_id}").json()["status"] == "locked"


@pytest.mark.parametrize(
    "body",
    [{"email": "x@acme.example"}, {"email": "x", "name": "x"}, {"email": "x@y.zz", "name": ""},
     {"email": "x@y.zz", "name": "x", "role": "root"}, {"email": "x@y.zz", "name": "a\nb"},
     {"email": "x@y.zz", "name": "x", "password_hash": "x"}, {"email": "x@y.zz\r\nBcc: z@z.zz",
     "name": "x"}, {"email": "x@y.zz", "name": "x", "tenant_id": "globex"},
     {"email": "x@y.zz", "name": "x", "email_verified_at": "2026-01-01T00:00:00Z"}],
)  # fmt: skip
def test_a_user_that_cannot_be_made(owner, mailbox, body):
    answer = owner.post(USERS, json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")
    assert mailbox.mails.empty()


@pytest.mark.parametrize(
    "body", [{"role": "root"}, {"email": "a@b.cc"}, {"tenant_id": "globex"}, {"locked_until": None}]
)
def test_a_change_that_cannot_be_made(served, owner, body):
    person = add_person(served)
    answer = owner.patch(f"{USERS}/{person.user_id}", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_parameter")


def test_users_come_in_pages(owner):
    every = [user["email"] for user in owner.get(f"{USERS}?limit=200").json()["items"]]
    assert every == sorted(every)
    first = owner.get(f"{USERS}?limit=2").json()
    rest = owner.get(f"{USERS}?limit=200", params={"cursor": first["next_cursor"]}).json()
    assert [user["email"] for user in first["items"] + rest["items"]] == every


def test_the_tenant_is_renamed_by_its_owner_alone(served, owner):
    assert owner.patch("/api/v1/tenant", json={"name": "Acme SE"}).json()["name"] == "Acme SE"
    assert owner.get("/api/v1/tenant").json()["tenant_id"] == "acme"
    with bearing(served, key_of(served, "admin")) as admin:
        assert admin.patch("/api/v1/tenant", json={"name": "X"}).json()["error"] == "forbidden"
