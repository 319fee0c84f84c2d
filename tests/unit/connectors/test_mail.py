"""Mails leave through a server, to standard error, or not at all; never in the clear to others."""

import smtplib
import socket
from unittest import mock

import pytest
import stamina

from connectors.mail import LogMailer, Mail, NoMailer, SmtpMailer, make_mailer
from tests.mailbox import Mailbox

MAIL = Mail("ada@example.com", "Grüße", "The code:\n\not_abc_def\n")


@pytest.fixture
def mailbox():
    with Mailbox() as box:
        yield box


@pytest.fixture(autouse=True)
def impatient():
    with stamina.set_testing(True, attempts=3):
        yield


def test_a_mail_arrives_as_it_was_written(mailbox):
    make_mailer(mailbox.url, "Settler <settler@example.com>").send(MAIL)
    mail = mailbox.next()
    assert mail["To"] == "ada@example.com"
    assert mail["From"] == "Settler <settler@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "ot_abc_def" in mail.get_payload()


def test_a_server_that_is_busy_is_asked_again(mailbox):
    mailbox.refusing = 2
    make_mailer(mailbox.url, "s@example.com").send(MAIL)
    assert mailbox.next()["To"] == "ada@example.com"


def test_a_server_that_stays_busy_is_given_up_on(mailbox):
    mailbox.refusing = 3
    with pytest.raises(smtplib.SMTPResponseException):
        make_mailer(mailbox.url, "s@example.com").send(MAIL)
    assert mailbox.refusing == 0


def test_nothing_goes_to_another_machine_in_the_clear(mailbox):
    # The name leads here, but does not say so.
    port = mailbox.server_address[1]
    mailer = SmtpMailer(f"smtp://user:secret@mail.example.com:{port}", "s@example.com")
    connect = socket.create_connection

    def to_this_machine(address, *arguments):
        return connect(("127.0.0.1", address[1]), *arguments)

    with (
        mock.patch("smtplib.socket.create_connection", to_this_machine),
        pytest.raises(smtplib.SMTPNotSupportedError, match=r"mail\.example\.com"),
    ):
        mailer.send(MAIL)
    assert mailbox.mails.empty()


def test_without_a_server_the_log_says_so_and_no_code(capsys):
    assert isinstance(make_mailer(None, "s@example.com"), NoMailer)
    NoMailer().send(MAIL)
    shown = "".join(capsys.readouterr())
    assert "SETTLER_MAIL_URL" in shown
    assert "ot_abc_def" not in shown


def test_on_a_laptop_the_mail_is_shown(capsys):
    assert isinstance(make_mailer("log:", "s@example.com"), LogMailer)
    LogMailer().send(MAIL)
    assert "ot_abc_def" in capsys.readouterr().err
