"""The only door to the KFP API (v2beta1, as `kfp-server-api` defines it): what there is, and what is made, once.

What is made is looked for first, by a name that only this one has.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.cluster.kfp_calls import Calls


class Kfp(Calls):
    """KFP's pipelines, experiments, runs and recurring runs; arguments as of `Calls`."""

    # ---- what there is

    def health(self) -> dict[str, Any]:
        """Return ``tag_name``, ``multi_user`` and more; the generated client knows only some of it."""
        said = self.text("/apis/v2beta1/healthz", what="look at KFP")
        try:
            return dict(json.loads(said))
        except ValueError:
            raise self.not_kfp(said, what="look at KFP") from None

    def run(self, run_id: str) -> Any:
        """Return a run, a `V2beta1Run` with its steps."""
        return self.call(lambda api: api.RunServiceApi, "run_service_get_run", run_id, what=f"look at run {run_id}")

    def runs(self, *, limit: int, experiment_id: str = "", name: str = "", namespace: str = "") -> list[Any]:
        """Return the newest runs, at most `limit`."""
        return self.listed(
            lambda api: api.RunServiceApi,
            "run_service_list_runs",
            field="runs",
            limit=limit,
            sort_by="created_at desc",
            what="list the runs",
            **_given(experiment_id=experiment_id, filter=_filter(name), namespace=namespace),
        )

    def recurring_runs(self, *, limit: int, experiment_id: str = "", name: str = "", namespace: str = "") -> list[Any]:
        """Return recurring runs, at most `limit`."""
        return self.listed(
            lambda api: api.RecurringRunServiceApi,
            "recurring_run_service_list_recurring_runs",
            field="recurring_runs",
            limit=limit,
            what="list the recurring runs",
            **_given(experiment_id=experiment_id, filter=_filter(name), namespace=namespace),
        )

    # ---- what is made, once

    def pipeline_version(self, *, pipeline: str, version: str, document: Path, namespace: str) -> tuple[str, str]:
        """Upload a pipeline's version unless it is there; return both ids.

        Args:
            pipeline: Name of the pipeline.
            version: Name of the version, which says its content.
            document: The YAML.
            namespace: Whose pipeline it is in a multi-user KFP; empty elsewhere.
        """
        pipelines, uploads = (lambda api: api.PipelineServiceApi), (lambda api: api.PipelineUploadServiceApi)
        whose = _given(namespace=namespace)
        body = {"name": pipeline, "display_name": pipeline, **whose}
        pipeline_id = self.made(
            lambda: self.listed(pipelines, "pipeline_service_list_pipelines", field="pipelines", limit=1,
                                 filter=_filter(pipeline), what="list the pipelines", **whose),
            lambda: self.once(pipelines, "pipeline_service_create_pipeline", body, what="make the pipeline"),
        ).pipeline_id  # fmt: skip
        version_id = self.made(
            lambda: self.listed(pipelines, "pipeline_service_list_pipeline_versions", pipeline_id,
                                 field="pipeline_versions", limit=1, filter=_filter(version),
                                 what="list the pipeline's versions"),
            lambda: self.once(uploads, "upload_pipeline_version", str(document), name=version, display_name=version,
                               pipelineid=pipeline_id, what="upload the pipeline"),
        ).pipeline_version_id  # fmt: skip
        return str(pipeline_id), str(version_id)

    def experiments(self, name: str, *, namespace: str) -> list[Any]:
        """Return the experiment of that name, or nothing."""
        return self.listed(
            lambda api: api.ExperimentServiceApi,
            "experiment_service_list_experiments",
            field="experiments",
            limit=1,
            filter=_filter(name),
            what="list the experiments",
            **_given(namespace=namespace),
        )

    def experiment_id(self, name: str, *, namespace: str) -> str:
        """Make an experiment unless it is there; return its id."""
        body = {"display_name": name, **_given(namespace=namespace)}
        found = self.made(
            lambda: self.experiments(name, namespace=namespace),
            lambda: self.once(lambda api: api.ExperimentServiceApi, "experiment_service_create_experiment", body,
                               what="make the experiment"),
        )  # fmt: skip
        return str(found.experiment_id)

    def create_run(self, body: dict[str, Any]) -> Any:
        """Start a run; its ``display_name`` must be one that no other run has."""
        return self.made(
            lambda: self.runs(limit=1, experiment_id=body["experiment_id"], name=body["display_name"]),
            lambda: self.once(lambda api: api.RunServiceApi, "run_service_create_run", body, what="start the run"),
        )

    def create_recurring_run(self, body: dict[str, Any]) -> Any:
        """Make a recurring run; its ``display_name`` must be one that no other has."""
        return self.made(
            lambda: self.recurring_runs(limit=1, experiment_id=body["experiment_id"], name=body["display_name"]),
            lambda: self.once(lambda api: api.RecurringRunServiceApi, "recurring_run_service_create_recurring_run",
                               body, what="make the recurring run"),
        )  # fmt: skip

    def cancel(self, run_id: str) -> None:
        """Ask KFP to end a run; one that has ended is left as it is."""
        self.call(lambda api: api.RunServiceApi, "run_service_terminate_run", run_id, what=f"cancel run {run_id}")

    def delete_recurring_run(self, recurring_run_id: str) -> None:
        """End a recurring run; the runs that it made stay."""
        self.call(
            lambda api: api.RecurringRunServiceApi,
            "recurring_run_service_delete_recurring_run",
            recurring_run_id,
            what=f"end the recurring run {recurring_run_id}",
        )


def _filter(name: str) -> str:
    if not name:
        return ""
    equals = {"operation": 1, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [equals]})


def _given(**options: str) -> dict[str, str]:
    """Leave out what is empty: KFP takes an empty text for a value."""
    return {name: value for name, value in options.items() if value}
