"""A server that speaks the KFP API v2beta1 as `kfp-server-api` and the backend of 2.17 define it.

It keeps pipelines, versions, experiments, runs and recurring runs; parses what is uploaded strictly against KFP's own
protocol buffers; checks a run's parameters; and takes a run through its steps, one state a look, as nodes of Argo
(drivers, executors, conditions) with the states of the API. It knows nothing of who asks it.

Paths, fields, states: kfp_server_api/api and /models. Errors, names and the order of checks:
https://github.com/kubeflow/pipelines/tree/master/backend/src/apiserver (main.go, server/, resource/).
"""

from __future__ import annotations

import email
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api
import yaml

from pipelines.lint_ir.ir import MalformedIrError, parse
from tests.pipelines.cluster.stand_in import Asked, Refuse, StandIn

ENDED = {"SUCCEEDED", "FAILED", "CANCELED"}
PREFIX = "/apis/v2beta1"
KINDS = {
    "NUMBER_INTEGER": lambda value: isinstance(value, int | float) and float(value).is_integer(),
    "NUMBER_DOUBLE": lambda value: isinstance(value, int | float),
    "BOOLEAN": lambda value: isinstance(value, bool),
    "STRING": lambda value: isinstance(value, str),
    "STRUCT": lambda value: isinstance(value, dict),
    "LIST": lambda value: isinstance(value, list),
}


@dataclass
class Plan:
    """What becomes of the next run.

    Attributes:
        cached: Task names whose result comes from the cache.
        fails: A task that fails, and what is said of it.
        hangs: A task that never ends.
        waits: Task names whose pods find no node at the first look.
    """

    cached: set[str] = field(default_factory=set)
    fails: dict[str, str] = field(default_factory=dict)
    hangs: str = ""
    waits: set[str] = field(default_factory=set)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def refuse(status: int, message: str) -> Refuse:
    codes = {400: 3, 404: 5, 409: 6}
    return Refuse(status, {"error": message, "code": codes[status], "message": message, "details": []})


class KfpServer(StandIn):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.release = "2.17.0"
        self.multi_user = False
        self.plan = Plan()
        self.step_s: dict[str, int] = {}  # how long a step of the next run took, seconds
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.documents: dict[str, list[dict[str, Any]]] = {}
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.recurring: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, Any] = {}

    def answer(self, asked: Asked) -> Any:
        if asked.path == f"{PREFIX}/healthz":
            return {
                "commit_sha": "0" * 40,
                "tag_name": self.release,
                "multi_user": self.multi_user,
                "pipeline_store": "database",
            }
        for method, pattern, does in (
            ("GET", r"/pipelines", self._list_pipelines),
            ("POST", r"/pipelines", self._create_pipeline),
            ("POST", r"/pipelines/upload_version", self._upload_version),
            ("GET", r"/pipelines/([^/]+)/versions", self._list_versions),
            ("GET", r"/experiments", self._list_experiments),
            ("POST", r"/experiments", self._create_experiment),
            ("GET", r"/runs", self._list_runs),
            ("POST", r"/runs", self._create_run),
            ("GET", r"/runs/([^/:]+)", self._get_run),
            ("POST", r"/runs/([^/:]+):terminate", self._terminate),
            ("GET", r"/recurringruns", self._list_recurring),
            ("POST", r"/recurringruns", self._create_recurring),
            ("DELETE", r"/recurringruns/([^/:]+)", self._delete_recurring),
        ):
            found = re.fullmatch(PREFIX + pattern, asked.path)
            if found and method == asked.method:
                return does(asked, *found.groups())
        found = re.fullmatch(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", asked.path)
        if found:
            return self._log(*found.groups())
        raise Refuse(404, {"code": 5, "message": "Not Found"})

    # ---- pipelines

    def _list_pipelines(self, asked: Asked) -> Any:
        return _page("pipelines", self.pipelines, asked)

    def _create_pipeline(self, asked: Asked) -> Any:
        body = _checked(asked.json(), kfp_server_api.V2beta1Pipeline)
        if any(one["name"] == body["name"] for one in self.pipelines.values()):
            raise refuse(409, f"Already exist error: The name {body['name']} already exist. Please specify a new name")
        made = {**body, "pipeline_id": str(uuid.uuid4()), "created_at": now()}
        self.pipelines[made["pipeline_id"]] = made
        return made

    def _list_versions(self, asked: Asked, pipeline_id: str) -> Any:
        of_it = {key: one for key, one in self.versions.items() if one["pipeline_id"] == pipeline_id}
        return _page("pipeline_versions", of_it, asked)

    def _upload_version(self, asked: Asked) -> Any:
        if asked.query.get("pipelineid") not in self.pipelines:
            raise Refuse(400, {"error_message": "Please specify a pipeline id", "error_details": ""})
        name = asked.query["name"]
        if any(one["name"] == name for one in self.versions.values()):
            raise Refuse(409, {"error_message": f"The name {name} already exist", "error_details": ""})
        text = _uploaded(asked)
        try:
            parse(text)
        except MalformedIrError as error:
            raise Refuse(
                400, {"error_message": f"Failed to create a pipeline version: {error}", "error_details": ""}
            ) from None
        made = {
            "pipeline_id": asked.query["pipelineid"],
            "pipeline_version_id": str(uuid.uuid4()),
            "name": name,
            "display_name": asked.query.get("display_name", name),
            "created_at": now(),
        }
        self.versions[made["pipeline_version_id"]] = made
        self.documents[made["pipeline_version_id"]] = list(yaml.safe_load_all(text))
        return made

    # ---- experiments

    def _list_experiments(self, asked: Asked) -> Any:
        return _page("experiments", self.experiments, asked)

    def _create_experiment(self, asked: Asked) -> Any:
        body = _checked(asked.json(), kfp_server_api.V2beta1Experiment)
        if self.multi_user and not body.get("namespace"):
            raise refuse(400, "Invalid input error: In multi-user mode, namespace must be set")
        if any(one["display_name"] == body["display_name"] for one in self.experiments.values()):
            raise refuse(409, f"Already exist error: The name {body['display_name']} already exist")
        made = {**body, "experiment_id": str(uuid.uuid4()), "created_at": now()}
        self.experiments[made["experiment_id"]] = made
        return made

    # ---- runs

    def _list_runs(self, asked: Asked) -> Any:
        wanted = asked.query.get("experiment_id")
        of_it = {key: one for key, one in self.runs.items() if wanted in (None, one["experiment_id"])}
        newest = dict(reversed(of_it.items())) if asked.query.get("sort_by") == "created_at desc" else of_it
        return _page("runs", newest, asked)

    def _create_run(self, asked: Asked) -> Any:
        body = _checked(asked.json(), kfp_server_api.V2beta1Run)
        documents = self._referred(body)
        made = {**body, "run_id": str(uuid.uuid4()), "state": "PENDING", "created_at": now(), "finished_at": None}
        self.runs[made["run_id"]] = made
        self.steps[made["run_id"]] = _Workflow(documents, self.plan, self.step_s)
        return made

    def _referred(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        if body.get("experiment_id") not in self.experiments:
            raise refuse(404, f"ResourceNotFoundError: Experiment {body.get('experiment_id')} not found")
        version = body.get("pipeline_version_reference", {}).get("pipeline_version_id")
        if version not in self.documents:
            raise refuse(404, f"ResourceNotFoundError: PipelineVersion {version} not found")
        documents = self.documents[version]
        known = documents[0]["root"]["inputDefinitions"]["parameters"]
        given = body.get("runtime_config", {}).get("parameters", {})
        for name, value in given.items():
            if name not in known:
                raise refuse(400, f"Invalid input error: parameter {name} is not part of the pipeline's inputs")
            if not KINDS[known[name]["parameterType"]](value):
                raise refuse(400, f"Invalid input error: input parameter {name} is not a {known[name]}")
        for name, spec in known.items():
            if not spec.get("isOptional") and "defaultValue" not in spec and name not in given:
                raise refuse(400, f"Invalid input error: input parameter {name} requires type string")
        return documents

    def _get_run(self, asked: Asked, run_id: str) -> Any:
        run = self._run(run_id)
        workflow = self.steps[run_id]
        if run["state"] == "CANCELING":
            workflow.cancel()
            run.update(state="CANCELED", finished_at=now())
        elif run["state"] not in ENDED:
            run["state"] = workflow.advance()
            if run["state"] in ENDED:
                run["finished_at"] = now()
            if run["state"] == "FAILED":
                run["error"] = {"code": 13, "message": workflow.failure}
        return {**run, "run_details": {"task_details": workflow.details(run_id)}}

    def _run(self, run_id: str) -> dict[str, Any]:
        if run_id not in self.runs:
            raise refuse(404, f"ResourceNotFoundError: Run {run_id} not found.")
        return self.runs[run_id]

    def _terminate(self, asked: Asked, run_id: str) -> Any:
        run = self._run(run_id)
        if run["state"] in ENDED:
            raise refuse(400, f"Failed to terminate run {run_id}: it has ended")
        run["state"] = "CANCELING"
        return {}

    def _log(self, run_id: str, pod: str) -> bytes:
        for detail in self.steps[self._run(run_id)["run_id"]].details(run_id):
            if detail["pod_name"] == pod and detail["display_name"].startswith("executor"):
                return f"a line of {pod}\nanother, Лето\n".encode()
        raise refuse(400, f"Failed to read logs for run {run_id}: pods {pod!r} not found")

    # ---- recurring runs

    def _list_recurring(self, asked: Asked) -> Any:
        wanted = asked.query.get("experiment_id")
        of_it = {key: one for key, one in self.recurring.items() if wanted in (None, one["experiment_id"])}
        return _page("recurringRuns", of_it, asked)

    def _create_recurring(self, asked: Asked) -> Any:
        body = _checked(asked.json(), kfp_server_api.V2beta1RecurringRun)
        self._referred(body)
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise refuse(400, "Max concurrency of a recurring run must be at least 1 and at most 10")
        cron = body["trigger"]["cron_schedule"]["cron"]
        if not (cron.startswith("@") or len(cron.split()) in (5, 6)):
            raise refuse(400, "Schedule cron is not a supported format")
        made = {**body, "recurring_run_id": str(uuid.uuid4()), "created_at": now(), "status": "ENABLED"}
        self.recurring[made["recurring_run_id"]] = made
        return made

    def _delete_recurring(self, asked: Asked, recurring_run_id: str) -> Any:
        if recurring_run_id not in self.recurring:
            raise refuse(404, f"ResourceNotFoundError: Job {recurring_run_id} not found.")
        del self.recurring[recurring_run_id]
        return {}


class _Workflow:
    """The nodes of a run; each look moves the first step that has not ended by one state."""

    def __init__(self, documents: list[dict[str, Any]], plan: Plan, step_s: dict[str, int]) -> None:
        self.plan, self.failure, self.step_s = plan, "", step_s
        self.states = dict.fromkeys(_in_order(documents[0], documents[0]["root"]["dag"]["tasks"]), "")

    def advance(self) -> str:
        for name, state in self.states.items():
            if state in ("SUCCEEDED", "FAILED"):
                continue
            if state == "":
                self.states[name] = "PENDING" if name in self.plan.waits else "RUNNING"
            elif state == "PENDING":
                self.states[name] = "RUNNING"
            elif name in self.plan.fails:
                self.states[name], self.failure = "FAILED", self.plan.fails[name]
                return "FAILED"
            elif name != self.plan.hangs:
                self.states[name] = "SUCCEEDED"
            return "RUNNING"
        return "SUCCEEDED"

    def cancel(self) -> None:
        self.states = {name: "FAILED" if state == "RUNNING" else state for name, state in self.states.items()}

    def details(self, run_id: str) -> list[dict[str, Any]]:
        found = [_node(run_id, "root", "RUNNING", "wf-1"), _node(run_id, "root-driver", "SUCCEEDED", "wf-driver-2")]
        for number, (name, state) in enumerate(self.states.items()):
            if not state:
                continue
            found.append(_node(run_id, f"{name}-driver", "SUCCEEDED", f"wf-system-container-driver-7{number}"))
            dag = "RUNNING" if state == "PENDING" else state  # a DAG runs while its pod waits
            step = _node(run_id, name, dag, f"wf-8{number}")
            began = datetime.now(UTC) - timedelta(seconds=self.step_s.get(name, 0))
            step["start_time"] = began.strftime("%Y-%m-%dT%H:%M:%SZ")
            step["child_tasks"] = [{"pod_name": f"wf-9{number}"}]
            if state == "FAILED" and self.failure:
                step["error"] = {"code": 13, "message": self.failure}
            found.append(step)
            executor = "SKIPPED" if name in self.plan.cached else state
            found.append(_node(run_id, "executor", executor, f"wf-retry-system-container-impl-9{number}"))
        return found


def _in_order(spec: dict[str, Any], tasks: dict[str, Any]) -> Iterator[str]:
    """Yield the steps below, each after those that it depends on."""
    left = dict(tasks)
    while left:
        for key, task in list(left.items()):
            if not left.keys() & set(task.get("dependentTasks", [])):
                del left[key]
                component = spec["components"][task["componentRef"]["name"]]
                yield from [key] if "executorLabel" in component else _in_order(spec, component["dag"]["tasks"])


def _node(run_id: str, name: str, state: str, pod: str) -> dict[str, Any]:
    ended = {"end_time": now()} if state in ("SUCCEEDED", "FAILED", "SKIPPED") else {"end_time": "1970-01-01T00:00:00Z"}
    task_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run_id} {pod}"))
    return {
        "run_id": run_id, "task_id": task_id, "display_name": name, "state": state, "pod_name": pod,
        "create_time": now(), "start_time": now(), "execution_id": "0", **ended,
    }  # fmt: skip


def _page(name: str, everything: dict[str, Any], asked: Asked) -> Any:
    """List as KFP does: by pages, filtered by predicates."""
    found = list(everything.values())
    if "filter" in asked.query:
        for predicate in json.loads(asked.query["filter"])["predicates"]:
            assert predicate["operation"] in (1, "EQUALS")
            found = [one for one in found if one[predicate["key"]] == predicate["stringValue"]]
    start, size = int(asked.query.get("page_token") or 0), int(asked.query.get("page_size") or 20)
    more = {"next_page_token": str(start + size)} if start + size < len(found) else {}
    return {name: found[start : start + size], "total_size": len(found), **more} if found else {}


def _checked(body: Any, model: Any) -> dict[str, Any]:
    """Refuse a field that the API does not know, at any depth that has a model."""
    known = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    for name, value in body.items():
        if name not in known:
            raise refuse(400, f"proto: (line 1:2): unknown field {name!r}")
        below = getattr(kfp_server_api, known[name], None)
        if isinstance(value, dict) and hasattr(below, "openapi_types"):
            _checked(value, below)
    return dict(body)


def _uploaded(asked: Asked) -> str:
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    part = email.message_from_bytes(head + asked.body).get_payload(0)
    return str(part.get_payload(decode=True).decode())
