"""An approved promotion or roll-back -> the alias ``champion`` moves: once, wherever it was interrupted.

Approval comes from the log (a command, a page) or from MLflow: the tag ``mlobs.approve`` on a version, with any value
(a name is kept as who approved), agrees to its pending promotion; ``mlobs.reject`` turns it down. A version may be
tagged before it was compared. Approving by tag never promotes what the comparison held back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from mlobs_pipelines.act.ledger import Ledger, Row, TriesError
from mlobs_pipelines.act.rows import newest_night
from mlobs_pipelines.act.validate import ROLLED_BACK
from mlobs_pipelines.registry import Registry, RegistryError, Version
from mlobs_pipelines.registry.versions import CHALLENGER, CHAMPION, PREVIOUS
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

APPROVE, REJECT = "mlobs.approve", "mlobs.reject"

LONGEST_NAME = 200


def heed_tags(ledger: Ledger, registry: Registry, versions: Sequence[Version], champion: str | None) -> list[Row]:
    """Approve or reject pending promotions by the tags of their versions; a tag that was heeded is taken away."""
    found = []
    for version in versions:
        for tag, status in ((REJECT, "rejected"), (APPROVE, "approved")):
            if tag not in version.tags or champion is None:
                continue
            row = ledger.find(promotion_id(ledger.model, version.version, champion))
            if row is None:
                continue  # not compared with this champion yet
            if row["status"] == "pending":
                said = f"Tag {tag} of version {version.version} in MLflow"
                found.append(ledger.settle(row, status, said, f"mlflow:{_name(version.tags[tag])}"))
            registry.delete_tag(version.version, tag)
    return [row for row in found if row is not None]


def promotion_id(model: str, version: str, champion: str) -> str:
    """Id of the decision to put a version in a champion's place."""
    return f"{model}:promote:{version}:{champion}"


def promote(home: Home, spec: ModelSpec, registry: Registry, decision: Row) -> Row:
    """Carry out an approved (or interrupted) promotion; gives its newest row.

    If the alias was moved meanwhile to a third version, by whomever, the decision is void: the version is compared with
    that one anew.

    Raises:
        RegistryError: MLflow does not answer; the next try looks at the aliases first.
    """
    ledger = Ledger(home, spec.model)
    evidence = ledger.evidence(decision["decision_id"])
    old, new = str(evidence["from"]), str(evidence["to"])
    night = newest_night(home, spec.model)
    noted = {"promoted_as_of": night.isoformat() if night else None}
    return _carry_out(ledger, registry, decision, old, new, noted)


def roll_back(home: Home, spec: ModelSpec, registry: Registry, decision: Row) -> Row:
    """Carry out an approved (or interrupted) roll-back; gives its newest row.

    The version to go back to is the decision's, else the one that the alias ``previous_champion`` names. The version
    that is left is no candidate any more.

    Raises:
        RegistryError: MLflow does not answer; the next try looks at the aliases first.
    """
    ledger = Ledger(home, spec.model)
    evidence = ledger.evidence(decision["decision_id"])
    aliases = registry.aliases()
    left = evidence.get("from") or aliases.get(CHAMPION)
    target = evidence.get("to") or aliases.get(PREVIOUS)
    if not left or not target or left == target:
        why = "There is no earlier champion to go back to: no version is named previous_champion"
        return ledger.turn(decision, "failed", why)
    return _carry_out(ledger, registry, decision, str(left), str(target), {"from": str(left), "to": str(target)})


def _carry_out(
    ledger: Ledger, registry: Registry, decision: Row, old: str, new: str, noted: dict[str, str | None]
) -> Row:
    """Say what begins, bring the aliases where they belong, say that it is done."""
    back = decision["action"] == "roll_back"
    aliases = registry.aliases()
    if aliases.get(CHAMPION) not in (old, new):
        return ledger.turn(decision, "rejected", f"The champion is {aliases.get(CHAMPION, 'gone')} by now, not {old}")
    try:
        ledger.begin(decision, f"Alias champion goes from {old} to {new}", evidence=noted, version=new)
        if back:
            registry.set_tags(old, {ROLLED_BACK: dt.datetime.now(dt.UTC).date().isoformat()})
        elif aliases.get(PREVIOUS) != old:
            registry.set_alias(PREVIOUS, old)
        if aliases.get(CHAMPION) != new:
            registry.set_alias(CHAMPION, new)
        for alias in (PREVIOUS, CHALLENGER) if back else (CHALLENGER,):
            if aliases.get(alias) == new:
                registry.delete_alias(alias)
    except TriesError as error:
        return ledger.turn(decision, "failed", str(error))
    except RegistryError as error:
        ledger.wait(decision, f"Waits: {error}")
        raise
    done = f"Version {new} is champion {'again ' if back else ''}in place of {old}"
    return ledger.turn(decision, "done", done, version=new)


def void(ledger: Ledger, champion: str | None) -> list[Row]:
    """Reject promotions that wait for a person while what they would replace is champion no more."""
    why = f"The champion is {champion or 'gone'} by now"
    waiting = ledger.current("promote", status="pending")
    stale = [row for row in waiting if ledger.evidence(row["decision_id"]).get("from") != champion]
    return [row for row in (ledger.settle(row, "rejected", why) for row in stale) if row is not None]


def _name(tag: str) -> str:
    """A tag's value as the name of whoever set it."""
    return " ".join("".join(c if c.isprintable() else " " for c in tag).split())[:LONGEST_NAME]
