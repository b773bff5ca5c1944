"""What KFP sees of `build_dataset`."""

from kfp.dsl import Dataset, Input, Output

from silhouette.containers import cpu_step


@cpu_step
def build_dataset(
    dataset: Input[Dataset],
    snapshot_digest: str,
    background_digest: str,
    settings: str,
    seed: int,
    crops: Output[Dataset],
):
    """Cut person-centred crops with masks into few big shards, in splits that share no picture and no shoot."""
    from silhouette.step import step

    with step():
        from pathlib import Path

        from silhouette.build_dataset.build import build_dataset
        from silhouette.config import DatasetConfig
        from silhouette.store import open_store

        report = build_dataset(
            dataset=Path(dataset.path),
            snapshot_digest=snapshot_digest,
            background_digest=background_digest,
            out=Path(crops.path),
            store=open_store(),
            config=DatasetConfig.model_validate_json(settings),
            seed=seed,
        )
        crops.metadata.update(report.metadata())
