"""A run that nobody can look up afterwards leaves no events, and its own result has them all."""

import dagster as dg

from mlobs_pipelines.orchestration.unrecorded import unrecorded_instance


@dg.asset(check_specs=[dg.AssetCheckSpec("sound", asset="upstream")])
def upstream():
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="sound", passed=False)])


@dg.asset(deps=[upstream])
def downstream(context: dg.AssetExecutionContext) -> None:
    run = context.instance.get_run_record_by_id(context.run.run_id)
    assert run is not None and run.start_time, "when a run began is asked of it while it runs"


def test_events_are_in_the_result_and_nowhere_else() -> None:
    job = dg.Definitions([upstream, downstream], jobs=[dg.define_asset_job("job")]).resolve_job_def("job")
    with unrecorded_instance() as instance:
        result = job.execute_in_process(instance=instance)
        assert result.success
        assert [event.asset_key.path[-1] for event in result.get_asset_materialization_events()] == [
            "upstream",
            "downstream",
        ]
        assert [check.passed for check in result.get_asset_check_evaluations()] == [False]
        assert list(instance.all_logs(result.run_id)) == []
        assert instance.get_run_by_id(result.run_id).is_success
