"""Values and days -> places on a chart, and the ticks beside it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """From ``low`` at the foot to ``high`` at the head of a plot of ``height`` pixels."""

    low: float
    high: float
    height: float

    @staticmethod
    def of(values: Iterable[float | None], height: float, *, zero: bool = False, most: float = math.inf) -> Scale:
        """A scale that holds all values, with round ends; ``zero``: from zero on; ``most``: never above, of shares."""
        known = [v for v in values if v is not None and math.isfinite(v)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if zero:
            low, high = min(low, 0.0), max(high, 0.0)
        if high - low <= 1e-12 * max(abs(high), 1e-12):
            half = abs(high) / 10 or 0.5
            low, high = (low, high + half) if zero and low == 0 else (low - half, high + half)
        step = _step(high - low, 4)
        return Scale(math.floor(low / step) * step, min(math.ceil(high / step - 1e-9) * step, most), height)

    def y(self, value: float) -> float:
        """Pixels from the head; values beyond the ends are at the ends."""
        share = (value - self.low) / (self.high - self.low)
        return self.height * (1 - min(max(share, 0.0), 1.0))

    def x(self, value: float) -> float:
        """Per cent from the left, for scales that lie."""
        return 100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self, most: int = 4) -> list[float]:
        """Round values within the scale.

        >>> Scale(0.6, 1.0, 100).ticks()
        [0.6, 0.7, 0.8, 0.9, 1.0]
        """
        step = _step(self.high - self.low, most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


def written(ticks: Sequence[float], times: float = 1) -> list[str]:
    """Ticks as text, all with the decimals that their step needs; ``times``: 100 for shares in per cent.

    >>> written([0.8, 0.9, 1.0]), written([0.0, 0.025, 0.05], 100), written([0.0, 2000.0])
    (['0.8', '0.9', '1.0'], ['0.0', '2.5', '5.0'], ['0', '2,000'])
    """
    step = (ticks[1] - ticks[0]) * times if len(ticks) > 1 else 1.0
    exact = (d for d in range(7) if (n := round(step * 10**d)) and abs(step * 10**d - n) < 1e-6 * n)
    decimals = next(exact, None)
    return [
        f"{tick * times + 0.0:.3g}" if decimals is None else f"{tick * times + 0.0:,.{decimals}f}" for tick in ticks
    ]


def _step(width: float, parts: int) -> float:
    raw = width / parts
    power = 10.0 ** math.floor(math.log10(raw))
    return power * next(s for s in STEPS if s * power >= raw * (1 - 1e-9))


@dataclass(frozen=True)
class Days:
    """Days from ``first`` to ``last`` side by side, both included."""

    first: dt.date
    last: dt.date

    @property
    def width(self) -> float:
        """Per cent that one day takes."""
        return 100 / ((self.last - self.first).days + 1)

    def left(self, date: dt.date) -> float:
        """Where a day begins."""
        return min(max((date - self.first).days * self.width, 0.0), 100.0)

    def middle(self, date: dt.date) -> float:
        return self.left(date) + self.width / 2

    def ticks(self, most: int = 6) -> list[tuple[dt.date, str]]:
        """Days to write, at most about ``most``: Mondays or firsts of months, the year where it begins."""
        whole = (self.last - self.first).days + 1
        every = [self.first + dt.timedelta(days=i) for i in range(whole)]
        weeks = -(-whole // (7 * most))
        if whole <= most:
            found = every
        elif weeks <= 4:
            mondays = [d for d in every if d.weekday() == 0]
            found = mondays[::weeks]
        else:
            months = [d for d in every if d.day == 1]
            found = months[:: -(-len(months) // most)]
        first = found[0].year if found else 0
        return [
            (d, f"{d:%b} {d.day}" if i and d.year == first else f"{d:%b} {d.day}, {d.year}")
            for i, d in enumerate(found)
        ]
