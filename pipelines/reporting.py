"""Every pipeline ends in a report, whatever happened: the steps stand inside an exit handler."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from kfp import dsl

from pipelines.resources import on_cpu
from silhouette.report_run.component import report_run


def reported(pipeline: Callable[..., Any]) -> Callable[..., Any]:
    """Put the steps of a pipeline's function inside an exit handler that reports; goes below `dsl.pipeline`.

    Args:
        pipeline: A function that wires steps; its name is the pipeline's.
    """
    signature = inspect.signature(pipeline)

    @functools.wraps(pipeline)
    def wired(*channels: Any) -> None:
        arguments = signature.bind(*channels).arguments
        report = report_run(
            pipeline=pipeline.__name__, run=dsl.PIPELINE_JOB_ID_PLACEHOLDER, group=arguments.get("group", "")
        )
        on_cpu(report, title="Report the run", memory="512Mi", minutes=10, cached=False)
        with dsl.ExitHandler(report, name="steps"):
            pipeline(**arguments)

    return wired
