"""What KFP sees of the served model, for the judge; never cached: what is served changes behind a run's back."""

from silhouette.containers import cpu_step


@cpu_step
def find_champion(group: str, onnx_sha256: str) -> str:
    """Say which version the new model has to be as good as: what is served, or nothing.

    Returns:
        Version and SHA-256 of its file; empty when nothing is served.
    """
    from silhouette.step import step

    with step():
        from silhouette.deploy_model.champion import find_champion
        from silhouette.store import open_store

        return find_champion(group=group, onnx_sha256=onnx_sha256, store=open_store())
