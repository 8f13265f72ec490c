"""Rows of the lake whose time is up: predictions' contents, and the text of rows that were refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from mlobs_pipelines.ingest import let_go as contents
from mlobs_pipelines.ingest import quarantine
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.join import night as label_join
from mlobs_pipelines.orchestration import behind
from mlobs_pipelines.orchestration.due import first_unfinished
from mlobs_pipelines.profile.bins import read_bins
from mlobs_pipelines.spec.model import ONBOARDING_NIGHTS, ModelSpec
from mlobs_pipelines.store.layout import Home


@dataclass(frozen=True)
class LetGo:
    """The rows of so many ``nights`` of a table were let go of; ``bytes``: what they took."""

    table: str
    nights: int
    bytes: int


def let_go_of_rows(
    home: Home,
    spec: ModelSpec,
    since: Mapping[str, dt.date],
    newest: dt.date,
    leave: Collection[dt.date],
    *,
    dry_run: bool,
) -> Iterator[LetGo]:
    """Let go of the lake's and the quarantine's old rows, table by table; with ``dry_run`` only say of which.

    Args:
        home: the installation.
        spec: the model.
        since: table -> the first night that is kept.
        newest: the model's newest night.
        leave: nights that are being written.
        dry_run: do nothing.
    """
    model = spec.model
    if "predictions" in since:
        nights = [n for n in _counted(home, spec, since["predictions"], newest) if n not in leave]
        sizes = [contents.content_bytes(home, model, night) for night in nights]
        if nights and not dry_run:
            before = label_join.states(home, spec, nights)
            contents.let_go(home, model, nights, newest)
            label_join.reads_the_same(home, spec, before)
        if nights:
            yield LetGo("predictions", len(nights), sum(sizes))
    if "quarantine" in since:
        nights = [n for n in quarantine.with_text(home, model, since["quarantine"]) if n not in leave]
        sizes = [quarantine.text_bytes(home, model, night) for night in nights]
        if not dry_run:
            quarantine.let_go(home, model, nights)
        if nights:
            yield LetGo("quarantine", len(nights), sum(sizes))


def _counted(home: Home, spec: ModelSpec, before: dt.date, newest: dt.date) -> list[dt.date]:
    """Nights before a date whose predictions nobody will look at again, in so far as anybody can know.

    Of a model with nights that are not finished, or are to be derived again, there are none; nor are those that stand for
    reference data, nor what the newest night, which may be run again, has labels for.
    """
    stored = home.lake_nights(spec.model, "predictions")
    schema, bins = read_schema(home, spec.model), read_bins(home.bins_file(spec.model))
    unfinished = first_unfinished(home, spec.model)
    if schema is None or bins is None or bins["frozen_on"] is None or behind.affected(home, spec.model, []):
        return []
    if unfinished is None or unfinished <= newest:
        return []
    reference = dt.timedelta(days=0 if bins["reference"] == "training" else ONBOARDING_NIGHTS)
    nights = [n for n in stored.all() if n < before and not schema.decided_on <= n < schema.decided_on + reference]
    asked = label_join.about(home, spec.model, newest)
    return [night for night in stored.kept(nights) if night not in asked]
