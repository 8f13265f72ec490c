"""How far a step is, and how long it will take from here, by what it took so far."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Tells of a step's nights as they are done, with the time left for the rest of them.

    The steps after it take their own time, which nobody knows before they begin: what is told is this step's.
    """

    def __init__(
        self,
        done: str,
        nights: int,
        tell: Callable[[str], None] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._word, self._nights, self._tell, self._clock = done, nights, tell, clock
        self._done, self._began = 0, clock()

    def tell(self, nights: int) -> None:
        """Some more nights are done."""
        self._done += nights
        if self._tell is None:
            return
        said = f"{self._word} {self._done} of {self._nights} nights"
        rest = self._nights - self._done
        if rest:
            said += f", {lasting((self._clock() - self._began) / self._done * rest)} left for this step"
        self._tell(said)


def lasting(seconds: float) -> str:
    """A length of time for a person: no more exact than it can be known."""
    if seconds < 90:
        return f"about {max(round(seconds / 10), 1) * 10} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
