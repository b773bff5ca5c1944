"""What KFP sees of `export_masks`; never cached: verdicts, corrections and the badlist change behind its back."""

from typing import NamedTuple

from silhouette.containers import cpu_step


@cpu_step
def export_masks(group: str, states: str, model: str, longest_side: int, limit: int) -> NamedTuple(
    "Outputs", [("key", str), ("model_digest", str), ("pictures", int), ("people", int), ("left_out", int)]
):
    """Write the masks of a group for its markers, under `markup/masks/` of the store."""
    from silhouette.step import step

    with step():
        from silhouette.database import connect
        from silhouette.export_masks.export import export_masks
        from silhouette.store import open_store

        with connect() as connection:
            report = export_masks(
                group=group,
                states=[state.strip() for state in states.split(",") if state.strip()],
                model=model,
                longest_side=longest_side,
                limit=limit,
                store=open_store(),
                connection=connection,
            )
        return report.key, report.model_digest, report.pictures, report.people, len(report.unreadable)
