"""What reaches a user: one line that says what is wrong and what to do."""

from __future__ import annotations


class UserError(Exception):
    """An error whose text is one helpful line for a person; every room's own error derives from it."""
