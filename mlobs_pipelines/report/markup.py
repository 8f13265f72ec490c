"""Elements of a page made in code. Every text and every value of an attribute is escaped: data are never markup."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

Child = Markup | str | int | float | None


def element(tag: str, *children: Child, **attributes: Any) -> Markup:
    """One element; ``class_`` is written class, ``stroke_width`` stroke-width; an attribute of None is left out.

    >>> element("text", "a < b", x=1.0, class_="tick")
    Markup('<text x="1" class="tick">a &lt; b</text>')
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{given}>{_inside(children)}</{tag}>")  # noqa: S704 - tag and names are ours, all else is escaped


def joined(*children: Child) -> Markup:
    """Children one after the other, those that are no markup yet escaped."""
    return Markup(_inside(children))  # noqa: S704 - escaped one by one


def _inside(children: Iterable[Child]) -> str:
    return "".join(
        child if isinstance(child, Markup) else str(escape(printable(child))) for child in children if child is not None
    )


def _attribute(value: object) -> str:
    """A value of an attribute; coordinates need no more than hundredths."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"
    return str(escape(printable(value)))


_UNSEEN = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"},
    **{
        code: f"\\u{code:04x}"
        for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
    },
    **dict.fromkeys(range(55296, 57344), "�"),
}


def printable(text: Any) -> Any:
    r"""A text with what nobody sees made visible: control characters, and marks that turn the direction of what follows.

    >>> print(printable("a\u202eb"))
    a\u202eb
    """
    return text.translate(_UNSEEN) if isinstance(text, str) and not isinstance(text, Markup) else text
