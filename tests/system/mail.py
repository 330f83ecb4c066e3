"""A real SMTP server on 127.0.0.1 that keeps each mail it is sent as a file."""

from __future__ import annotations

import datetime
import json
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.system.server import free_port

#: The envelope's recipients, blind copies included, as a header of the kept mail.
RECIPIENTS = "X-Envelope-To"


class Mailbox:
    """The server and its directory of ``.eml`` files; also a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._controller: Any = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep a mail; called by aiosmtpd."""
        recipients = f"{RECIPIENTS}: {', '.join(envelope.rcpt_tos)}\r\n"
        name = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}.eml"
        (self.directory / name).write_bytes(recipients.encode() + envelope.content)
        return "250 kept"

    def __enter__(self) -> Mailbox:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Take mails."""
        from aiosmtpd.controller import Controller

        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        """Take no more mails, until it is started again."""
        self._controller.stop()

    def files(self) -> list[Path]:
        """What was kept, oldest first."""
        return sorted(self.directory.glob("*.eml"))

    def mails(self) -> list[EmailMessage]:
        """The mails themselves."""
        return [
            message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=policy.default) for path in self.files()
        ]

    def about(self, text: str) -> list[EmailMessage]:
        """The mails whose body holds ``text``."""
        return [mail for mail in self.mails() if text in body(mail)]

    def connection(self, port: int | None = None) -> str:
        """An Airflow connection to this server, or to another port of this machine."""
        extra = {"disable_ssl": True, "disable_tls": True, "retry_limit": 1, "from_email": "airflow@example.com"}
        return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port or self.port, "extra": extra})


def body(mail: EmailMessage) -> str:
    """A mail's text, as it was before it was encoded."""
    part = mail.get_body(("plain", "html"))
    return str(part.get_content()) if part else ""
