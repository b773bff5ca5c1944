"""What KFP sees of `report_run`; never cached, and run whatever became of the steps before it."""

from kfp.dsl import PipelineTaskFinalStatus

from silhouette.containers import cpu_step


@cpu_step
def report_run(status: PipelineTaskFinalStatus, pipeline: str, run: str, group: str):
    """Say how the run ended, and keep a record of it in the store."""
    from silhouette.step import step

    with step():
        from silhouette.report_run.report import report_run
        from silhouette.store import open_store

        report_run(
            pipeline=pipeline,
            run=run,
            state=status.state,
            error=status.error_message or "",
            parameters={"group": group},
            store=open_store(),
        )
