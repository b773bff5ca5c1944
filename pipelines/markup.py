"""The markup pipeline: a group's people as masks that markers correct."""

from kfp import dsl

from pipelines.reporting import reported
from pipelines.resources import on_cpu, with_database
from silhouette.export_masks.component import export_masks


@dsl.pipeline(
    name="markup",
    display_name="Export masks for markers",
    pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=7 * 86400, active_deadline_seconds=86400),
)
@reported
def markup(
    group: str,
    states: str = "unchecked,approved",
    model: str = "",
    limit: int = 0,
    longest_side: int = 1600,
):
    """Write a group's masks, overlays and COCO files to markup/masks/ of the store.

    One step, never cached: verdicts, corrections and the badlist change in the database, and what is there already is
    not drawn again. `silhouette masks export --to FOLDER` brings a copy to a marker, `silhouette masks import` takes
    the corrected masks back.

    Args:
        group: Name of the group of pictures, any text.
        states: Pictures of these states, with commas: unchecked, approved, rejected, nobody.
        model: How the digest of the segmenter begins; empty when only one has seen the group.
        limit: At most so many pictures, the most doubtful first; 0 for all.
        longest_side: Of the overlays, in pixels; masks have the size of the original.
    """
    exported = export_masks(group=group, states=states, model=model, longest_side=longest_side, limit=limit)
    with_database(on_cpu(exported, title="Export masks", cpu="2", memory="4Gi", minutes=720, cached=False))
