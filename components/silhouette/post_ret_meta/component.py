"""What KFP sees of `post_ret_meta`; never cached: the service may have lost or changed what it had."""

from typing import NamedTuple

from kfp.dsl import Metrics, Output

from silhouette.containers import cpu_step


@cpu_step
def post_ret_meta(groups: list, accept_refused: list, dry_run: bool, metrics: Output[Metrics]) -> NamedTuple(
    "Outputs", [("posted", int), ("known", int)]
):
    """Send the documents of the groups' pictures to the picture service, each content once; fail if one is refused."""
    from silhouette.step import keep_metadata, step

    with step():
        from silhouette.database import connect
        from silhouette.picture_source.returned import RetMetaService
        from silhouette.post_ret_meta.post import WORKERS, post_ret_meta
        from silhouette.settings import picture_service_settings
        from silhouette.store import open_store

        service = RetMetaService(picture_service_settings(), workers=WORKERS)
        with connect() as connection:
            report = post_ret_meta(
                groups=groups,
                store=open_store(),
                connection=connection,
                service=service,
                accept_refused=accept_refused,
                dry_run=dry_run,
            )
        service.close()
        for name in ("pictures", "posted", "known", "without_document", "badlisted"):
            metrics.log_metric(name, getattr(report, name))
        metrics.log_metric("failed", sum(report.failed.values()))
        keep_metadata(metrics)
        report.require_all()
        return report.posted, report.known
