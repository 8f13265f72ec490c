"""Tokens that tie a form to the browser that it was shown in (signed double submit, OWASP)."""

from __future__ import annotations

import hashlib
import hmac
import secrets

COOKIE = "mlobs_form"


class Tokens:
    """Tokens of one server process: forms that were shown before it began are refused, and shown again."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def nonce(self, cookie: str | None) -> str:
        """The browser's own value: its cookie, or a new one."""
        return cookie if cookie and len(cookie) == 43 and cookie.isascii() else secrets.token_urlsafe(32)

    def token(self, nonce: str) -> str:
        """What a form must bring for a browser with that cookie."""
        return hmac.new(self._key, nonce.encode(), hashlib.sha256).hexdigest()

    def valid(self, cookie: str | None, token: str) -> bool:
        """Whether a form was shown by this server to the browser that sends it."""
        return bool(cookie) and hmac.compare_digest(self.token(cookie or ""), token)
