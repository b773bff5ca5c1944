"""What KFP sees of `build_ret_meta`; never cached: reviews, the badlist and what is served change behind its back."""

from kfp.dsl import Artifact, Metrics, Output

from silhouette.containers import cpu_step


@cpu_step
def build_ret_meta(groups: list, manifest: Output[Artifact], metrics: Output[Metrics]):
    """Make a document of every picture of the groups: its people, what every configured model says, provenance."""
    from silhouette.step import keep_metadata, step

    with step():
        from pathlib import Path

        from silhouette.build_ret_meta.build import build_ret_meta
        from silhouette.build_ret_meta.models import needs_triton
        from silhouette.config import load_config
        from silhouette.database import connect
        from silhouette.store import open_store
        from silhouette.triton_client import open_triton

        config = load_config()
        with connect() as connection:
            report = build_ret_meta(
                groups=groups,
                out=Path(manifest.path),
                store=open_store(),
                connection=connection,
                triton=open_triton() if needs_triton(config) else None,
                config=config,
            )
        manifest.metadata.update({"run": report.run, "key": report.key})
        for name in ("pictures", "new", "changed", "confirmed", "unchanged", "withdrawn", "refused"):
            metrics.log_metric(name, getattr(report, name))
        keep_metadata(metrics)
