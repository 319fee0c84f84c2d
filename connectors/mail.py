"""The way mails leave: a port, and three adapters of it.

`smtp://user:password@host:587` goes through a mail server with STARTTLS, `smtps://…:465` with TLS
from the start; only a server on this machine may do without. `log:` writes each mail to standard
error, codes and all: for a laptop, never for production. Without a setting nothing is sent and the
log says that.
"""

import smtplib
import ssl
import sys
from email.message import EmailMessage
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

import stamina
import structlog

log = structlog.get_logger("settler.mail")

TIMEOUT_SECONDS = 10.0
_PORTS = {"smtp": 587, "smtps": 465}
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


class Mail(NamedTuple):
    """One mail to one person, as plain text."""

    to: str
    subject: str
    text: str


class Mailer(Protocol):
    """What can send a mail. Blocks; call it off the event loop."""

    def send(self, mail: Mail) -> None:
        """Send one mail.

        Raises:
            OSError: It could not be handed over; smtplib's errors are among these.
        """


class SmtpMailer:
    """Hands mails to a server (RFC 5321), tried three times over some seconds.

    Args:
        url: `smtp://` or `smtps://`, with the name and password to sign in with, if any.
        sender: Stands in From.
    """

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, "the settings hold that a mail URL has a host"
        self._tls_first = parts.scheme == "smtps"
        self._host = parts.hostname
        self._port = parts.port or _PORTS[parts.scheme]
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._sender = sender

    @stamina.retry(on=OSError, attempts=3, timeout=30.0)
    def send(self, mail: Mail) -> None:
        """Send one mail; the server's host name is checked against its certificate."""
        message = EmailMessage()
        message["From"], message["To"] = self._sender, mail.to
        message["Subject"] = mail.subject
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
        message.set_content(mail.text)
        with self._connect() as server:
            server.send_message(message)

    def _connect(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._tls_first:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=TIMEOUT_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            server.ehlo()
            if not self._tls_first and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            elif not self._tls_first and self._host not in _THIS_MACHINE:
                raise smtplib.SMTPNotSupportedError(
                    f"{self._host} offers no STARTTLS; mails with codes are not sent in the clear"
                )
            if self._user:
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server


class LogMailer:
    """Writes mails to standard error in full, past the redaction of logs, to be of use."""

    def send(self, mail: Mail) -> None:
        """Write one mail."""
        sys.stderr.write(f"--- mail to {mail.to}: {mail.subject}\n{mail.text}\n---\n")


class NoMailer:
    """Sends nothing and says so."""

    def send(self, mail: Mail) -> None:
        """Log that a mail was not sent, without its text."""
        log.warning("mail not sent, SETTLER_MAIL_URL is not set", subject=mail.subject)


def make_mailer(url: str | None, sender: str) -> Mailer:
    """Make the adapter that a setting names."""
    if url is None:
        return NoMailer()
    return LogMailer() if url == "log:" else SmtpMailer(url, sender)
