"""A mail server of one's own on this machine (RFC 5321), without TLS, that keeps what it gets."""

import email
import queue
import re
import socketserver
import threading
from email.message import Message
from typing import Self


class Mailbox(socketserver.ThreadingTCPServer):
    """Takes every mail; `refusing` makes it answer 451 to the next ones."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.mails: queue.Queue[Message] = queue.Queue()
        self.refusing = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="mailbox")

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"

    def next(self) -> Message:
        """Wait for the next mail."""
        return self.mails.get(timeout=10)

    def next_code(self) -> str:
        """Wait for the next mail and give the code in it."""
        return re.search(r"^ot_\S+", self.next().get_payload(), re.MULTILINE)[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Conversation(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline():
            verb = line.split()[0].upper().decode() if line.split() else ""
            if verb == "QUIT":
                self.say("221 bye")
                return
            if verb == "MAIL" and self.server.refusing > 0:
                self.server.refusing -= 1
                self.say("451 later")
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (text := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(text.removeprefix(b"."))
                self.server.mails.put(email.message_from_bytes(b"".join(lines)))
                self.say("250 kept")
            else:
                self.say("250 fine")

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
