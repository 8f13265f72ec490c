"""E-mail by SMTP: one text and HTML mail per message, with a message id that stays the same on every try.

TLS is used wherever there is a password or the server is not on this machine, unless the URL says ``tls=off``.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import smtplib
import ssl
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from email.headerregistry import Address as MailAddress
from email.message import EmailMessage

from mlobs_pipelines.act.alerts.channel import TIMEOUT, Address, ChannelError, NotNowError, Receipt
from mlobs_pipelines.act.alerts.message import Message, plain
from mlobs_pipelines.act.alerts.post import limited
from mlobs_pipelines.act.alerts.wording import html, subject, text

TLS_FROM_THE_START = 465


@dataclass(frozen=True)
class Mail:
    """Recipients behind a mail server. ``tls``: start, upgrade, or off."""

    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    tls: str
    user: str = ""
    password: str = field(default="", repr=False)

    pause = 0.0
    wants_acknowledged = False

    @property
    def label(self) -> str:
        count = len(self.recipients)
        return f"mail to {count} recipient{'s' if count != 1 else ''} by {self.host}"

    @property
    def identity(self) -> str:
        return f"mail {self.host} {' '.join(self.recipients)}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.password, *self.recipients)

    def send(self, message: Message, done: Collection[str]) -> Iterator[Receipt]:
        left = [to for to in self.recipients if part_of(to) not in done]
        if not left:
            return
        try:
            refused = self._hand_over(mail(message, self.sender, self.recipients), left)
        except smtplib.SMTPRecipientsRefused as error:
            refused = dict(error.recipients)
        except smtplib.SMTPResponseException as error:
            if 500 <= error.smtp_code < 600:
                said = f"{type(error).__name__}: {_said(error.smtp_code, error.smtp_error)}"
                yield from (Receipt(part_of(to), said, refused=True) for to in left)
                return
            raise NotNowError(_said(error.smtp_code, error.smtp_error), whole_channel=True) from None
        except smtplib.SMTPNotSupportedError:
            raise NotNowError(
                "the mail server offers no TLS, or no way to log in; add ?tls=off to send in the clear",
                whole_channel=True,
            ) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise NotNowError(f"no answer ({type(error).__name__})", whole_channel=True) from None
        for to in left:
            code, answer = refused.get(to, (250, b"taken in"))
            if not 400 <= code < 500:
                yield Receipt(part_of(to), _said(code, answer), refused=code >= 500)
        later = [code for code, _ in refused.values() if 400 <= code < 500]
        if later:
            raise NotNowError(f"SMTP {later[0]} for {len(later)} of {len(left)} recipients")

    def _hand_over(self, letter: EmailMessage, recipients: list[str]) -> dict[str, tuple[int, bytes]]:
        """Give the mail to the server; recipients that it refused, with its answer."""
        secure = ssl.create_default_context()
        server = (
            smtplib.SMTP_SSL(timeout=TIMEOUT, context=secure) if self.tls == "start" else smtplib.SMTP(timeout=TIMEOUT)
        )
        with limited(2 * TIMEOUT, lambda: server.sock):
            try:
                server._host = self.host  # type: ignore[attr-defined]  # whose certificate TLS asks for
                code, said = server.connect(self.host, self.port)
                if code != 220:
                    raise smtplib.SMTPConnectError(code, said)
                if self.tls == "upgrade":
                    server.starttls(context=secure)
                if self.user:
                    server.login(self.user, self.password)
                refused = server.send_message(letter, self.sender, recipients)
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    server.quit()
                return refused
            finally:
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    server.close()


def smtp(parts: Address) -> Mail:
    """The channel of ``mailto://user:password@host:port/?to=a@example.com,b@example.com&from=mlobs@example.com``.

    ``smtp://`` is the same; ``smtps://``, port 465 or ``tls=start`` speaks TLS from the first byte, else STARTTLS is asked for.
    """
    recipients = [to.strip() for listed in parts.query.get("to", []) for to in listed.split(",") if to.strip()]
    if not recipients or not parts.host:
        raise ChannelError("a mail channel needs a server and recipients: mailto://host/?to=a@example.com")
    login = parts.user if "@" in parts.user else f"{parts.user}@{parts.host}"
    sender = parts.one("from") or (login if parts.user else f"mlobs@{parts.host}")
    tls = parts.one("tls") or _tls(parts)
    if tls not in ("start", "upgrade", "off"):
        raise ChannelError("tls of a mail channel is start, upgrade or off")
    port = parts.port or {"start": TLS_FROM_THE_START, "upgrade": 587, "off": 25}[tls]
    checked = tuple(dict.fromkeys(_checked(to) for to in recipients))
    return Mail(parts.host, port, _checked(sender), checked, tls, parts.user, parts.password)


def _tls(parts: Address) -> str:
    if parts.scheme == "smtps" or parts.port == TLS_FROM_THE_START:
        return "start"
    return "off" if _is_here(parts.host) and not parts.password else "upgrade"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked(address: str) -> str:
    """An address that can stand in a header."""
    try:
        return MailAddress(addr_spec=address).addr_spec
    except (ValueError, IndexError, LookupError):
        raise ChannelError("a mail channel's to or from is no mail address") from None


def part_of(recipient: str) -> str:
    """What stands for a recipient in the outbox, where no address is kept."""
    return f"recipient {hashlib.sha256(recipient.encode()).hexdigest()[:12]}"


def mail(message: Message, sender: str, recipients: tuple[str, ...]) -> EmailMessage:
    """The mail; mails about the same incident are shown as one thread."""
    letter = EmailMessage()
    letter["Subject"] = subject(message).replace("=?", "= ?")  # which would be decoded, line breaks and all
    letter["From"] = sender
    letter["To"] = ", ".join(recipients)
    letter["Message-ID"] = f"<{message.id}@mlobs.invalid>"
    letter["References"] = f"<{_token(message.items[0].dedup_key)}@mlobs.invalid>"
    letter["Auto-Submitted"] = "auto-generated"
    letter["X-Mlobs-Dedup-Keys"] = " ".join(_token(item.dedup_key) for item in message.items)
    letter.set_content(text(message))
    letter.add_alternative(html(message), subtype="html")
    return letter


def _token(key: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in key)


def _said(code: int, said: bytes | str) -> str:
    told = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return plain(f"SMTP {code}: {told}", 120)
