"""The metadata pipeline: from what is known of a group's pictures to what the picture service has of them."""

from kfp import dsl

from pipelines.reporting import reported
from pipelines.resources import on_cpu, with_database, with_picture_service, with_triton
from silhouette.build_ret_meta.component import build_ret_meta
from silhouette.post_ret_meta.component import post_ret_meta


@dsl.pipeline(
    name="metadata",
    display_name="Send what was found back to the service",
    pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=7 * 86400, active_deadline_seconds=2 * 86400),
)
@reported
def metadata(groups: list, accept_refused: list = [], dry_run: bool = False):  # noqa: B006  a default of KFP
    """Make a document of every picture of the groups and send those that the picture service does not have.

    1. build the documents   2. post them

    Both look for themselves at what is done already, so neither is cached, and both may be run again at any time.

    Args:
        groups: Names of groups that were downloaded and segmented, ["summer test", "test"].
        accept_refused: Groups whose model need not have passed its gate.
        dry_run: Send nothing; tell in the log what would change at the service.
    """
    built = build_ret_meta(groups=groups)
    with_triton(with_database(on_cpu(built, title="Build ret_meta", cpu="2", memory="4Gi", minutes=720, cached=False)))

    posted = post_ret_meta(groups=groups, accept_refused=accept_refused, dry_run=dry_run).after(built)
    with_picture_service(with_database(on_cpu(posted, title="Post ret_meta", minutes=720, cached=False)))
