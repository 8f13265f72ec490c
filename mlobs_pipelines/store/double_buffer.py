"""One file that readers open, and another that takes its place: written while nobody looks, then the two change places.

A file that somebody still has open is never written: it is left to its reader, and a copy takes its part.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DoubleBuffer:
    """``front`` is what readers open; ``back`` lies beside it, for one writer, who holds a lock of his own.

    Nothing here is done in place: a process that dies between any two steps leaves a whole front, and a state from
    which ``tidy`` goes on.
    """

    front: Path

    @property
    def back(self) -> Path:
        return self.front.with_name(f".{self.front.name}.back")

    @property
    def _retired(self) -> Path:
        """A second name of what was the front, for the moment in which the back takes its name."""
        return self.front.with_name(f".{self.front.name}.retired")

    def tidy(self) -> None:
        """Finish what a killed writer began: to change places, or to write a log beside the back."""
        if self._retired.exists():
            if self.back.exists():  # the back had not taken its place yet
                self._retired.unlink()
            else:
                self._retired.replace(self.back)
        if self._log.exists():
            self._log.unlink()
            self.discard()

    @property
    def _log(self) -> Path:
        """DuckDB's, of what is not in the file yet; gone when a database was closed well."""
        return self.back.with_name(f"{self.back.name}.wal")

    def discard(self) -> None:
        """Leave the back to whoever has it open."""
        self.back.unlink(missing_ok=True)

    def free(self) -> bool:
        """Whether there is a back that nobody has open, be it to read a page or to copy the file.

        The system tells by a lease, which it grants for a file that is open nowhere else. Locks would not do: not every
        reader takes one, and a process's own locks do not keep it from anything. Where there are no leases, nobody
        knows, and so it is not free.
        """
        try:
            file = os.open(self.back, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except (OSError, AttributeError):
            return False
        finally:
            os.close(file)
        return True

    def copy(self) -> None:
        """Make the back a copy of the front, with its time stamp."""
        self.discard()
        shutil.copy2(self.front, self.back)

    def swap(self) -> None:
        """Let the two change places; there is a front at every moment."""
        with contextlib.suppress(OSError):  # there is none yet, or no second names: then the next back is a copy
            os.link(self.front, self._retired)
        self.back.replace(self.front)
        if self._retired.exists():
            self._retired.replace(self.back)
