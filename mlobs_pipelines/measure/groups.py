"""Who is measured: every version, role and segment that occurs, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]

KEYS = ("version", "role", "segment")

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
        found = [f.select(KEYS)[run_starts(f, KEYS)].unique() for f in frames if f.height]
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
        """Each row's group for all versions, and its own version's, or -1 where the role has no other."""
        if not frame.height:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        runs = run_starts(frame, KEYS)
        heads = frame.select(KEYS)[runs]
        version, role, segment = (
            heads[column].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
            for column, names in zip(KEYS, (self.versions, self.roles, self.segments), strict=True)
        )
        alone = (np.asarray(self.single)[role] >= 0) | (version == 0)
        own = np.where(alone, -1, self.number[version, role, segment])
        size = np.diff(np.append(runs, frame.height))
        return np.repeat(self.number[0, role, segment], size), np.repeat(own, size)


def run_starts(frame: pl.DataFrame, columns: Sequence[str]) -> Ints:
    """Places where a row differs from the one before it in some of the columns: profiles are sorted, so these are few."""
    changed = frame.select(pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift(1)) for c in columns)).to_series()
    starts: Ints = np.flatnonzero(changed.to_numpy())
    return np.union1d([0], starts).astype(np.int64) if frame.height else starts


def codes_of(frame: pl.DataFrame, column: str, known: Sequence[str]) -> Ints:
    """Each row's place of a text among the known ones, or -1."""
    if not frame.height or not known:
        return np.full(frame.height, -1, np.int64)
    runs = run_starts(frame, [column])
    place = {name: i for i, name in enumerate(known)}
    heads = np.array([place.get(text, -1) for text in frame[column].gather(runs).to_list()], dtype=np.int64)
    return np.repeat(heads, np.diff(np.append(runs, frame.height)))
