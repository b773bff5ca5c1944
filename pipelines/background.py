"""The background set of a training run: brought in when the run names one."""

from kfp import dsl

from pipelines.resources import on_cpu, with_database, with_picture_service
from silhouette.download_pictures.component import download_pixsets


# a pipeline of its own: kfp.local takes a condition over a step's named output for false unless it is an input
@dsl.pipeline(name="background", display_name="Background set")
def background(pixsets: str, version: str, wanted: bool):
    """Download the pictures of a list of pixsets, if there is one.

    Args:
        pixsets: The JSON list, a file or s3://bucket/key.
        version: What `source_version` found there.
        wanted: Whether the run names a list.
    """
    with dsl.If(wanted == True, name="wanted"):  # noqa: E712 - builds a condition
        pictures = download_pixsets(pixsets=pixsets, version=version)
        with_database(with_picture_service(on_cpu(pictures, title="Download background", cpu="2", minutes=720)))
