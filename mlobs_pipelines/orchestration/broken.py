"""A spec that can't be used: shown where its model would be, with the reason, while every other model goes on."""

from __future__ import annotations

import re
from collections.abc import Callable

import dagster as dg

WATCH_SECONDS = 900


def broken_model(name: str, reason: str, still_broken: Callable[[], str | None]) -> dg.Definitions:
    """Definitions that say why a model is missing.

    Args:
        name: the spec file's name; anything Dagster takes for no name is replaced by ``_``.
        reason: what is wrong, and where.
        still_broken: the reason as the file is now, None once it is mended.
    """
    group = re.sub(r"\W", "_", name, flags=re.ASCII) or "unnamed"
    key = dg.AssetKey([group, "broken_spec"])
    asset = dg.AssetSpec(
        key,
        group_name=group,
        description=f"The spec of {name} can't be used; nothing of this model runs.\n\n{_quoted(reason)}",
        metadata={"reason": reason},
        tags={"mlobs/broken": ""},
    )

    def judge() -> tuple[bool, str]:
        now = still_broken()
        return now is None, now or "mended: reload the code location"

    @dg.asset_check(asset=key, name="spec_is_valid", description="The model's file is a valid spec.")
    def check() -> dg.AssetCheckResult:
        passed, text = judge()
        return dg.AssetCheckResult(passed=passed, description=text)

    @dg.sensor(
        name=f"{group}_broken_spec",
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Shows why the spec of {name} can't be used.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        passed, text = judge()
        if context.cursor == text:
            return dg.SkipReason(text)
        evaluation = dg.AssetCheckEvaluation(
            asset_key=key,
            check_name="spec_is_valid",
            passed=passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=text,
            metadata={},
        )
        return dg.SensorResult(asset_events=[evaluation], cursor=text)

    return dg.Definitions(assets=[asset], asset_checks=[check], sensors=[sensor])


def _quoted(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
