"""What is due of the loop, done now and in this process."""

from __future__ import annotations

from typing import Any

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store.layout import Home


def act_on(home: Home, specs: list[Any]) -> tuple[dict[str, list[str]], list[UserError]]:
    """Advance each model's loop; gives a line for each thing done, by model, and what could not be done.

    One model's registry that does not answer does not hold up the others.
    """
    from mlobs_pipelines.act.loop import advance

    done: dict[str, list[str]] = {}
    failed: list[UserError] = []
    for spec in specs:
        try:
            done[spec.model] = advance(home, spec)
        except UserError as error:
            failed.append(UserError(f"{spec.model}: {error}"))
    return done, failed
