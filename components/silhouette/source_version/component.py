"""What KFP sees of `source_version`; never cached, cheap: it is why the steps below can be cached."""

from typing import NamedTuple

from silhouette.containers import cpu_step


@cpu_step
def pictures_version(
    group: str,
    source: str,
    gpus: int,
    model: str = "",
    extra_workers: list = [],  # noqa: B006  a default of KFP
) -> NamedTuple(
    "Outputs",
    [
        ("version", str),
        ("segmentation", str),
        ("dataset", str),
        ("served_model", str),
        ("serving", str),
        ("shards", list),
    ],
):
    """Digest what pictures there are, for a pipeline that trains nothing; name the model that is asked, and shards.

    The shards are ``i/n``, one a worker, and none where one worker is enough.
    """
    from silhouette.step import step

    with step():
        from silhouette.config import load_config
        from silhouette.database import connect
        from silhouette.names import safe_key
        from silhouette.source_version.version import source_version
        from silhouette.store import open_store

        config = load_config().for_run(training={}, gate={}, gpus=gpus)
        with connect() as connection:
            found = source_version(group=group, source=source, store=open_store(), connection=connection, config=config)
        workers = len(extra_workers) + 1
        return (
            found.digest,
            config.segmentation.model_dump_json(),
            config.dataset.model_dump_json(),
            model or safe_key(group),
            config.serving.model_dump_json(),
            [f"{number}/{workers}" for number in range(workers)] if extra_workers else [],
        )


@cpu_step
def source_version(
    group: str,
    source: str,
    background_pixsets: str,
    backbone: str,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    min_macro_f1: float,
    gpus: int,
) -> NamedTuple(
    "Outputs",
    [
        ("version", str),
        ("background", str),
        ("with_background", bool),
        ("segmentation", str),
        ("dataset", str),
        ("training", str),
        ("export", str),
        ("evaluate", str),
        ("gate", str),
        ("serving", str),
    ],
):
    """Digest what there is to work on, and resolve the run's parameters over the configuration."""
    from silhouette.step import step

    with step():
        import tempfile
        from pathlib import Path

        from silhouette.config import load_config
        from silhouette.database import connect
        from silhouette.input_file import pin_file, resolve_file
        from silhouette.source_version.version import pixsets_version, source_version
        from silhouette.store import open_store

        config = load_config().for_run(
            training={
                "backbone": backbone,
                "epochs": epochs,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
                "seed": seed,
            },
            gate={"min_macro_f1": min_macro_f1},
            gpus=gpus,
        )
        store = open_store()
        training_config = config.training
        if training_config.weights:
            pinned = pin_file(training_config.weights, what="the file of training.weights", store=store)
            training_config = training_config.model_copy(update={"weights": pinned})
        background = ""
        with connect() as connection, tempfile.TemporaryDirectory() as folder:
            places = {"store": store, "connection": connection, "config": config}
            found = source_version(group=group, source=source, **places)
            if background_pixsets:
                file = resolve_file(background_pixsets, what="the list of pixsets", folder=Path(folder), store=store)
                background = pixsets_version(pixsets=file, **places).digest
        return (
            found.digest,
            background,
            bool(background),
            config.segmentation.model_dump_json(),
            config.dataset.model_dump_json(),
            training_config.model_dump_json(),
            config.export.model_dump_json(),
            config.evaluate.model_dump_json(),
            config.gate.model_dump_json(),
            config.serving.model_dump_json(),
        )
