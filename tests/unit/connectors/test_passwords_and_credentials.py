"""What is taken for a password, and credentials that are kept as hashes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.credentials import (
    API_KEY,
    ONE_TIME_TOKEN,
    credential_matches,
    make_credential,
    public_id_of,
)
from connectors.passwords import (
    PasswordRefused,
    check_password,
    hash_password,
    needs_rehash,
    verify_password,
)
from connectors.postgres.signing_keys import make_signing_key, unseal
from connectors.postgres.users import EmailInvalid, normal_email


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "has 5 characters"),
        ("x" * 129, "has 129 characters"),
        ("abababababab", "different characters"),
        ("ada.lovelace 12", "the name in the e-mail address"),
        ("ADA.LOVELACE 12", "the name in the e-mail address"),
        ("twelve chars\x00", "cannot be typed"),
        ("twelve\nchars", "cannot be typed"),
    ],
)
def test_a_password_that_may_not_be_set(password, why):
    with pytest.raises(PasswordRefused, match=why) as refused:
        check_password(password, "ada.lovelace@example.com")
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    "password", ["correct horse battery", "ünï çödé paßword", "パスワードは長いほうがいいです"]
)
def test_a_password_that_may(password):
    check_password(password, "ada@example.com")
    kept = hash_password(password)
    assert kept.startswith("$argon2id$")
    assert password not in kept
    assert verify_password(password, kept)
    assert not needs_rehash(kept)
    assert not verify_password(password + " ", kept)


def test_no_hash_and_a_broken_hash_match_nothing():
    for kept in (None, "", "$argon2id$nonsense", "plain"):
        assert not verify_password("the password of nobody", kept)


@given(st.sampled_from([API_KEY, ONE_TIME_TOKEN]), st.text(max_size=40))
def test_a_credential_is_found_by_its_public_part_and_known_by_all_of_it(prefix, noise):
    new = make_credential(prefix, "pepper")
    assert public_id_of(new.text, prefix) == new.public_id
    assert credential_matches(new.text, "pepper", new.kept_hash)
    assert not credential_matches(new.text, "another", new.kept_hash)
    assert not credential_matches(new.text + "x", "pepper", new.kept_hash)
    assert not credential_matches(new.text, "pepper", None)
    assert credential_matches(noise, "pepper", new.kept_hash) == (noise == new.text)
    other = ONE_TIME_TOKEN if prefix == API_KEY else API_KEY
    assert public_id_of(new.text, other) is None


def test_a_sealed_key_opens_under_its_pepper_and_kid_alone():
    sealed = make_signing_key("pepper")
    opened = unseal(sealed.kid, sealed.sealed_private_key, "pepper")
    assert opened.public_key().public_bytes_raw() == sealed.public_key
    assert opened.private_bytes_raw() not in sealed.sealed_private_key
    assert unseal(sealed.kid, sealed.sealed_private_key, "another") is None
    assert unseal("0" * 16, sealed.sealed_private_key, "pepper") is None


@pytest.mark.parametrize(
    "text",
    ["", "ada", "ada@", "@example.com", "a b@example.com", "ada@example",
     "ada@example.com\r\nBcc: x", "ada@exa mple.com",
     "a@b@example.com", "x" * 300 + "@example.com", "ada@example.com,b@b.de",
     "ada\x00@example.com", "<ada@example.com>"],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(EmailInvalid):
        normal_email(text)


def test_an_address_has_one_form():
    assert normal_email(" Ada+Ledger@Example.COM ") == "ada+ledger@example.com"
