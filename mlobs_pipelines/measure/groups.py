"""Who is measured: every version, role and segment that occurs, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]

DEFAULT_ROLE = "production"
"""The role under which nothing is reported when nothing came."""


@dataclass(frozen=True)
class Groups:
    """Distinct groups (version, role, segment); version ``''`` is the sum of all.

    A role with a single version has groups of version ``''`` only: its version's numbers are the same, and are written
    from them (``alias``).
    """

    versions: tuple[str, ...]
    roles: tuple[str, ...]
    segments: tuple[str, ...]
    version: Ints
    role: Ints
    segment: Ints
    single: tuple[int, ...]
    """For each role its only version, or -1."""

    @staticmethod
    def of(frames: Sequence[pl.DataFrame], further_roles: Sequence[str] = ()) -> Groups:
        """The groups that occur in any of the frames, and every role as a whole."""
        keys = ("version", "role", "segment")
        found = [f.select(keys).unique() for f in frames if f.height]
        rows = set(pl.concat(found).unique().iter_rows()) if found else set()
        versions = tuple(sorted({v for v, _, _ in rows} | {""}))
        roles = tuple(sorted({r for _, r, _ in rows} | {DEFAULT_ROLE, *further_roles}))
        segments = tuple(sorted({s for _, _, s in rows} | {""}))
        of_role: dict[str, set[str]] = {role: set() for role in roles}
        for v, r, _ in rows:
            of_role[r].add(v)
        single = tuple(versions.index(next(iter(of_role[r]))) if len(of_role[r]) == 1 else -1 for r in roles)
        groups = {("", r, s) for _, r, s in rows} | {("", r, "") for r in roles}
        groups |= {(v, r, s) for v, r, s in rows if len(of_role[r]) > 1}
        ordered = sorted(groups)
        place = [{name: i for i, name in enumerate(names)} for names in (versions, roles, segments)]
        codes = np.array([[p[x] for p, x in zip(place, g, strict=True)] for g in ordered], dtype=np.int64)
        return Groups(versions, roles, segments, codes[:, 0], codes[:, 1], codes[:, 2], single)

    def __len__(self) -> int:
        return len(self.version)

    @cached_property
    def number(self) -> Ints:
        """Group of (version, role, segment) codes, or -1."""
        table = np.full((len(self.versions), len(self.roles), len(self.segments)), -1, dtype=np.int64)
        table[self.version, self.role, self.segment] = np.arange(len(self))
        return table

    def rows_of(self, frame: pl.DataFrame) -> tuple[Ints, Ints]:
        """Each row's place in the frame and its group, once for all versions and, where groups tell, once for its own."""
        if not frame.height:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        version, role, segment = (
            frame[column].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
            for column, names in (("version", self.versions), ("role", self.roles), ("segment", self.segments))
        )
        all_versions = self.number[0, role, segment]
        own = np.where(np.asarray(self.single)[role] >= 0, -1, self.number[version, role, segment])
        own = np.where(version == 0, -1, own)
        extra = np.flatnonzero(own >= 0)
        return (
            np.concatenate([np.arange(frame.height), extra]),
            np.concatenate([all_versions, own[extra]]),
        )
