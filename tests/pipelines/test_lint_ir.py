"""Each rule of the IR lint catches its violation, and a good pipeline passes."""

import copy
import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl, kubernetes

from pipelines.lint_ir import RULES, Rule, lint
from pipelines.lint_ir.ir import Ir, parse

ROOT = Path(__file__).resolve().parents[2]
COMPILED = sorted((ROOT / "pipelines" / "compiled").glob("*.yaml"))
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
IMAGE = "silhouette/cpu:0.1.0-0123456789ab"
step = functools.partial(dsl.component, base_image=IMAGE, install_kfp_package=False)


@step
def look(group: str) -> str:
    """Uncached, gives a digest."""
    return group


@step
def fetch(version: str, pictures: dsl.Output[dsl.Dataset]) -> None:
    """Cached on the digest, gives an artifact."""


@step
def learn(pictures: dsl.Input[dsl.Dataset], epochs: int, model: dsl.Output[dsl.Model]) -> None:
    """Cached, takes an artifact."""


@step
def serve(model: dsl.Input[dsl.Model]) -> None:
    """Uncached, takes an artifact through a condition."""


def dress(task: Any, title: str, *, cached: bool = True) -> Any:
    kubernetes.set_timeout(task, 600)
    kubernetes.set_security_context(task, run_as_user=1000, run_as_non_root=True)
    kubernetes.use_config_map_as_env(task, "silhouette", {"s3_endpoint": "SILHOUETTE_S3_ENDPOINT"})
    kubernetes.use_secret_as_env(task, "store", {"secret_key": "SILHOUETTE_S3_SECRET_KEY"})
    kubernetes.use_secret_as_env(task, "wandb", {"api_key": "WANDB_API_KEY"}, optional=True)
    return task.set_display_name(title).set_memory_limit("1Gi").set_caching_options(cached).set_retry(2)


@dsl.pipeline(name="small", pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=60))  # type: ignore[untyped-decorator]
def small(group: str, epochs: int = 3) -> None:
    """Look, fetch, learn, serve.

    Args:
        group: Any text.
        epochs: Passes.
    """
    version = dress(look(group=group), "Look", cached=False)
    pictures = dress(fetch(version=version.output), "Fetch")
    model = dress(learn(pictures=pictures.outputs["pictures"], epochs=epochs), "Learn")
    with dsl.If(epochs > 1, name="enough"):
        dress(serve(model=model.outputs["model"]), "Serve", cached=False)


@pytest.fixture(scope="module")
def compiled() -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.yaml"
        compiler.Compiler().compile(small, str(path))
        return list(yaml.safe_load_all(path.read_text()))


def findings(documents: list[Any]) -> list[str]:
    return lint(yaml.dump_all(documents, sort_keys=False, Dumper=DUMPER))


Change = Callable[[dict[str, Any], dict[str, Any]], Any]


def after(compiled: list[Any], change: Change) -> list[str]:
    """Lint the small pipeline after `change(pipeline document, executors of the platform document)`."""
    documents = copy.deepcopy(compiled)
    change(documents[0], documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"])
    return findings(documents)


def tasks(spec: dict[str, Any], dag: str = "root") -> dict[str, Any]:
    component = spec["root"] if dag == "root" else spec["components"][dag]
    found: dict[str, Any] = component["dag"]["tasks"]
    return found


def container(spec: dict[str, Any], label: str = "exec-learn") -> dict[str, Any]:
    found: dict[str, Any] = spec["deploymentSpec"]["executors"][label]["container"]
    return found


def test_good_pipeline_passes(compiled: list[Any]) -> None:
    assert findings(compiled) == []


def test_there_is_a_compiled_pipeline() -> None:
    assert COMPILED


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.name)
def test_committed_pipeline_passes(path: Path) -> None:
    assert lint(path.read_text(encoding="utf-8")) == []


MALFORMED: dict[str, tuple[Change, str]] = {
    "unknown field": (lambda spec, _: spec.update(retries=3), 'no field named "retries"'),
    "misspelt field of a task": (lambda spec, _: tasks(spec)["learn"].update(cachingOption={}), "cachingOption"),
    "misspelt field of an executor": (lambda spec, _: container(spec).update(comand=["x"]), "comand"),
    "misspelt field of the platform": (lambda _, pods: pods["exec-learn"].update(secretsAsEnv=[]), "secretsAsEnv"),
}


@pytest.mark.parametrize(("change", "expected"), MALFORMED.values(), ids=MALFORMED.keys())
def test_field_that_the_protocol_does_not_know_is_refused(compiled: list[Any], change: Change, expected: str) -> None:
    (finding,) = after(compiled, change)
    assert expected in finding
    assert finding.endswith("run `make compile`")


@pytest.mark.parametrize("text", ["", "a: [", "- 1\n- 2\n", "a: 1\n---\nb: 1\n---\nc: 1\n", "plain words"])
def test_text_that_is_no_pipeline_is_one_finding_and_no_traceback(text: str) -> None:
    assert len(lint(text)) == 1


def rename_task(spec: dict[str, Any], new: str) -> None:
    tasks(spec)[new] = tasks(spec).pop("look")
    tasks(spec)["fetch"]["inputs"]["parameters"]["version"]["taskOutputParameter"]["producerTask"] = new
    tasks(spec)["fetch"]["dependentTasks"] = [new]


def loop_over_artifacts(spec: dict[str, Any], _: Any) -> None:
    tasks(spec)["learn"]["artifactIterator"] = {"items": {"inputArtifact": "pictures"}, "itemInput": "pictures"}


def take_from(output: str, producer: str) -> Change:
    def change(spec: dict[str, Any], _: Any) -> None:
        tasks(spec)["learn"]["inputs"]["artifacts"]["pictures"]["taskOutputArtifact"] = {
            "outputArtifactKey": output,
            "producerTask": producer,
        }

    return change


def take_parameter_from(output: str, producer: str) -> Change:
    def change(spec: dict[str, Any], _: Any) -> None:
        tasks(spec)["fetch"]["inputs"]["parameters"]["version"]["taskOutputParameter"] = {
            "outputParameterKey": output,
            "producerTask": producer,
        }

    return change


def forget_to_hand_down(kind: str) -> Change:
    def change(spec: dict[str, Any], _: Any) -> None:
        definitions = spec["components"]["comp-condition-1"]["inputDefinitions"]
        name = next(iter(definitions[kind]))
        del definitions[kind][name]
        tasks(spec)["condition-1"]["inputs"][kind].pop(name)

    return change


def read_parameter_inside_condition(spec: dict[str, Any], _: Any) -> None:
    # what the SDK makes of set_memory_limit(<pipeline parameter>) inside If: the task reads what nobody hands down
    inputs = tasks(spec, "comp-condition-1")["serve"].setdefault("inputs", {})
    inputs.setdefault("parameters", {})["limit"] = {"componentInputParameter": "pipelinechannel--limit"}


def condition_over_a_named_output(spec: dict[str, Any], _: Any) -> None:
    spec["components"]["comp-look"]["outputDefinitions"]["parameters"]["found"] = {"parameterType": "BOOLEAN"}
    condition = tasks(spec)["condition-1"]
    condition["inputs"].setdefault("parameters", {})["pipelinechannel--look-found"] = {
        "taskOutputParameter": {"outputParameterKey": "found", "producerTask": "look"}
    }
    condition["triggerPolicy"]["condition"] = "inputs.parameter_values['pipelinechannel--look-found'] == true"


WIRING: dict[str, tuple[Change, str]] = {
    "pipeline without a name": (lambda spec, _: spec["pipelineInfo"].clear(), "pipelineInfo.name is empty"),
    "platform stranger": (lambda _, pods: pods.update({"exec-ghost": {}}), "exec-ghost: is in the platform document"),
    "task name with a capital": (lambda spec, _: rename_task(spec, "Look"), "root/Look: a task name must be"),
    "task named like a YAML boolean": (lambda spec, _: rename_task(spec, "n"), "no YAML boolean, got 'n'"),
    "condition over a named output": (condition_over_a_named_output, "its condition is over the named output 'found'"),
    "missing component": (
        lambda spec, _: tasks(spec)["learn"]["componentRef"].update(name="comp-ghost"),
        "root/learn: there is no component 'comp-ghost'",
    ),
    "missing executor": (
        lambda spec, _: spec["components"]["comp-learn"].update(executorLabel="exec-ghost"),
        "root/learn: there is no executor 'exec-ghost'",
    ),
    "loop over artifacts": (loop_over_artifacts, "root/learn: loops over artifacts"),
    "missing producer of an artifact": (take_from("pictures", "ghost"), "there is no task 'ghost' to take 'pictures'"),
    "missing output artifact": (take_from("ghost", "fetch"), "task 'fetch' has no output artifact 'ghost'"),
    "missing producer of a parameter": (take_parameter_from("Output", "ghost"), "there is no task 'ghost'"),
    "missing output parameter": (take_parameter_from("ghost", "look"), "task 'look' has no output parameter 'ghost'"),
    "dependency on nobody": (
        lambda spec, _: tasks(spec)["learn"]["dependentTasks"].append("ghost"),
        "root/learn: there is no task 'ghost'",
    ),
    "artifact that is not handed down": (forget_to_hand_down("artifacts"), "which 'comp-condition-1' is not given"),
    "parameter that is not handed down": (
        read_parameter_inside_condition,
        "comp-condition-1/serve: takes parameter 'pipelinechannel--limit', which 'comp-condition-1' is not given",
    ),
    "parameter that is not passed": (
        lambda spec, _: tasks(spec)["learn"]["inputs"]["parameters"].clear(),
        "root/learn: parameter 'epochs' of comp-learn is not passed",
    ),
    "artifact that is not passed": (
        lambda spec, _: tasks(spec)["learn"]["inputs"]["artifacts"].clear(),
        "root/learn: artifact 'pictures' of comp-learn is not passed",
    ),
}


def switch_cache(task: str, *, on: bool, dag: str = "root") -> Change:
    def change(spec: dict[str, Any], _: Any) -> None:
        tasks(spec, dag)[task]["cachingOptions"] = {"enableCache": True} if on else {}

    return change


def cache_behind_a_condition(spec: dict[str, Any], pods: Any) -> None:
    switch_cache("learn", on=False)(spec, pods)
    switch_cache("serve", on=True, dag="comp-condition-1")(spec, pods)


CACHING: dict[str, tuple[Change, str]] = {
    "cached behind uncached": (
        switch_cache("fetch", on=False),
        "root/learn: is cached and takes artifact 'pictures' from root/fetch, which is not",
    ),
    "cached behind uncached through a condition": (
        cache_behind_a_condition,
        "root/condition-1/serve: is cached and takes artifact 'model' from root/learn, which is not",
    ),
}

EXECUTORS: dict[str, tuple[Change, str]] = {
    "pip at start-up": (
        lambda spec, _: container(spec)["command"].append("python3 -m pip install kfp"),
        "exec-learn: installs with pip at start-up",
    ),
    "image without a tag": (
        lambda spec, _: container(spec).update(image="host:5000/silhouette/cpu"),
        "got 'host:5000/silhouette/cpu'",
    ),
    "image latest": (lambda spec, _: container(spec).update(image="silhouette/cpu:latest"), "silhouette/cpu:latest"),
    "image with a version only": (lambda spec, _: container(spec).update(image="silhouette/cpu:1.2"), "content hash"),
    "long command": (
        lambda spec, _: container(spec)["command"].append("x" * 100_001),
        "exec-learn: an argument must be at most 100000 bytes, got 100001",
    ),
    "no memory limit": (lambda spec, _: container(spec).pop("resources"), "exec-learn: has no memory limit"),
    "no timeout": (lambda _, pods: pods["exec-learn"].pop("activeDeadlineSeconds"), "exec-learn: has no timeout"),
    "no platform entry": (lambda _, pods: pods.pop("exec-learn"), "exec-learn: has no timeout"),
    "no security context": (
        lambda _, pods: pods["exec-learn"].pop("securityContext"),
        "exec-learn: must run as a user that is not root",
    ),
    "root by number": (
        lambda _, pods: pods["exec-learn"]["securityContext"].update(runAsUser=0),
        "exec-learn: must run as a user that is not root",
    ),
    "root not forbidden": (
        lambda _, pods: pods["exec-learn"]["securityContext"].update(runAsNonRoot=False),
        "exec-learn: must run as a user that is not root",
    ),
    "no display name": (
        lambda spec, _: tasks(spec)["learn"]["taskInfo"].update(name="learn"),
        "root/learn: has no display name",
    ),
    "no description": (
        lambda spec, _: spec["root"]["inputDefinitions"]["parameters"]["epochs"].pop("description"),
        "root: parameter 'epochs' has no description",
    ),
    "large file": (
        lambda spec, _: spec["pipelineInfo"].update(description="x" * 1_000_001),
        "the compiled pipeline must be at most 1000000 bytes",
    ),
}


def set_default(value: Any) -> Change:
    def change(spec: dict[str, Any], _: Any) -> None:
        spec["root"]["inputDefinitions"]["parameters"]["group"]["defaultValue"] = value

    return change


def set_constant(value: Any) -> Change:
    def change(spec: dict[str, Any], _: Any) -> None:
        tasks(spec)["learn"]["inputs"]["parameters"]["epochs"] = {"runtimeValue": {"constant": value}}

    return change


def set_env(name: str, value: str) -> Change:
    return lambda spec, _: container(spec).update(env=[{"name": name, "value": value}])


def secret_in_config_map(_: Any, pods: Any) -> None:
    pods["exec-learn"]["configMapAsEnv"][0]["keyToEnv"][0]["envVar"] = "SILHOUETTE_S3_SECRET_KEY"


def secret_that_is_not_optional(_: Any, pods: Any) -> None:
    for source in pods["exec-learn"]["secretAsEnv"]:
        source["optional"] = False


def name_input(name: str) -> Change:
    def change(spec: dict[str, Any], _: Any) -> None:
        spec["components"]["comp-learn"]["inputDefinitions"]["parameters"][name] = {
            "parameterType": "STRING",
            "isOptional": True,
        }

    return change


SECRECY: dict[str, tuple[Change, str]] = {
    **{
        f"default {value!r}": (set_default(value), f"root: the default of 'group' holds {kind}")
        for value, kind in {
            "http://minio/x": "a URL",
            "s3://bucket/prefix": "a URL",
            "minio.kubeflow:9000": "a host and port",
            "10.0.0.12": "an address",
            "localhost": "a host",
            "triton.kubeflow.svc": "a host",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0": "a secret",
            "AKIAIOSFODNN7EXAMPLE": "a secret",
        }.items()
    },
    "default inside a list": (set_default(["a", {"b": "https://x"}]), "the default of 'group' holds a URL"),
    "constant": (set_constant("postgres:5432"), "root/learn: the constant for 'epochs' holds a host and port"),
    "environment value": (set_env("MODE", "http://x"), "exec-learn: environment literal 'MODE' holds a URL"),
    "environment name of a place": (set_env("SILHOUETTE_S3_BUCKET", "x"), "'SILHOUETTE_S3_BUCKET' names a place"),
    "environment name of a secret": (
        set_env("API_KEY", "x"),
        "environment literal 'API_KEY' names a place or a secret",
    ),
    "parameter named as a bucket": (name_input("s3_bucket"), "comp-learn: parameter 's3_bucket' names a place"),
    "parameter named as a secret": (name_input("access_key"), "comp-learn: parameter 'access_key' names a place or"),
    "secret from a config map": (secret_in_config_map, "SILHOUETTE_S3_SECRET_KEY is a secret from a ConfigMap"),
    "optional secret that is not": (secret_that_is_not_optional, "WANDB_API_KEY comes from a Secret that must be"),
}


def name_object(field: str, value: str) -> Change:
    def change(_: Any, pods: Any) -> None:
        source = pods["exec-learn"]["secretAsEnv"][0]
        (source if field in source else source["keyToEnv"][0])[field] = value

    return change


def variable_twice(_: Any, pods: Any) -> None:
    pods["exec-learn"]["secretAsEnv"].append(copy.deepcopy(pods["exec-learn"]["secretAsEnv"][0]))


def ask_for_gpus(count: str) -> Change:
    return lambda spec, _: container(spec)["resources"].update(accelerator={"resourceCount": count})


PLATFORM: dict[str, tuple[Change, str]] = {
    "node selector that is not handed down": (
        lambda _, pods: pods["exec-serve"].update(
            nodeSelector={"nodeSelectorJson": {"componentInputParameter": "pool"}}
        ),
        "comp-condition-1/serve: its pod's settings take parameter 'pool', which 'comp-condition-1' is not given",
    ),
    "limit that is not passed": (
        ask_for_gpus("{{$.inputs.parameters['gpus']}}"),
        "root/learn: a limit takes parameter 'gpus', which is not passed to the task",
    ),
    "name of a Secret": (name_object("secretName", "My_Store"), "must be a Kubernetes name, got 'My_Store'"),
    "key of a Secret": (name_object("secretKey", "a key"), "must be letters, digits, dots, - and _, got 'a key'"),
    "variable with a hyphen": (
        name_object("envVar", "S3-KEY"),
        "a variable must be letters, digits and _, got 'S3-KEY'",
    ),
    "variable twice": (variable_twice, "the variable SILHOUETTE_S3_SECRET_KEY must have one source, it has 2"),
    "variable twice, once a literal": (
        lambda spec, _: container(spec).update(env=[{"name": "SILHOUETTE_S3_ENDPOINT", "value": "x"}]),
        "the variable SILHOUETTE_S3_ENDPOINT must have one source",
    ),
    "label with a space": (
        lambda _, pods: pods["exec-learn"].update(podMetadata={"labels": {"group": "summer test"}}),
        "a pod's label must be a Kubernetes label of 63 characters at most, got group=summer test",
    ),
    "GPUs without shared memory": (ask_for_gpus("1"), "exec-learn: asks for GPUs and has no /dev/shm of its own"),
}


def loop_over(items: Any, **more: Any) -> Change:
    def change(spec: dict[str, Any], _: Any) -> None:
        task = tasks(spec)["learn"]
        task["parameterIterator"] = {"items": {"raw": items}, "itemInput": "item"}
        task["inputs"]["parameters"].update(more)

    return change


def loop_in_a_loop(spec: dict[str, Any], _: Any) -> None:
    raw = {"items": {"raw": "[1]"}, "itemInput": "item"}
    tasks(spec)["condition-1"]["parameterIterator"] = raw
    tasks(spec, "comp-condition-1")["serve"]["parameterIterator"] = raw


def choices(*values: Any) -> Change:
    def change(spec: dict[str, Any], _: Any) -> None:
        spec["root"]["inputDefinitions"]["parameters"]["epochs"]["literals"] = list(values)

    return change


UPSTREAM = {"taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "look"}}
CONTROL: dict[str, tuple[Change, str]] = {
    "loop with an upstream output": (loop_over("[1, 2]", epochs=UPSTREAM), "root/learn: loops with an upstream output"),
    "loop in a loop": (loop_in_a_loop, "comp-condition-1/serve: is a loop inside a loop"),
    "items with a key name": (loop_over('[{"name": 1}]'), "root/learn: loops over items with a key 'name'"),
    "items that are not JSON": (loop_over("[1,"), "root/learn: the items of a loop must be JSON"),
    "no retry": (lambda spec, _: tasks(spec)["learn"].pop("retryPolicy"), "root/learn: is not retried"),
    "condition with quotes": (
        lambda spec, _: tasks(spec)["condition-1"]["triggerPolicy"].update(
            condition="""inputs.parameter_values['x'] == 'a"b'"""
        ),
        "root/condition-1: its condition is on a text with quotes",
    ),
    "choices without the default": (choices(1, 2), "the default of 'epochs' must be one of its choices, got 3.0"),
    "choices of another type": (choices(3, "many"), "the choices of 'epochs' must be of its type, got 'many'"),
}

VIOLATIONS = WIRING | CACHING | EXECUTORS | PLATFORM | CONTROL | SECRECY


def without_a_time_to_live(compiled: list[Any]) -> str:
    documents = copy.deepcopy(compiled)
    del documents[1]["platforms"]["kubernetes"]["pipelineConfig"]
    return str(yaml.dump_all(documents, sort_keys=False, Dumper=DUMPER))


def test_run_that_is_gone_after_an_hour_is_caught(compiled: list[Any]) -> None:
    (finding,) = lint(without_a_time_to_live(compiled))
    assert "has no resourceTtlOnCompletion" in finding


def test_choices_with_the_default_and_a_plain_loop_are_left_alone(compiled: list[Any]) -> None:
    assert after(compiled, choices(1, 3)) == []
    assert after(compiled, loop_over("[1, 2]")) == []


@pytest.mark.parametrize(("change", "expected"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_violation_is_caught(compiled: list[Any], change: Change, expected: str) -> None:
    found = after(compiled, change)
    assert any(expected in finding for finding in found), found


@pytest.fixture(scope="module")
def broken(compiled: list[Any]) -> list[Ir]:
    """The small pipeline after each of the violations."""
    parsed = []
    for change, _ in VIOLATIONS.values():
        documents = copy.deepcopy(compiled)
        change(documents[0], documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"])
        parsed.append(parse(yaml.dump_all(documents, sort_keys=False, Dumper=DUMPER)))
    return [*parsed, parse(without_a_time_to_live(compiled))]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_has_a_violation_above(broken: list[Ir], rule: Rule) -> None:
    assert any(list(rule(ir)) for ir in broken)


@pytest.mark.parametrize("value", ["samples/model/people-seg.pt", "tits_size", "W: 16", "2026-11-22T10:30", "4Gi", ""])
def test_ordinary_default_is_left_alone(compiled: list[Any], value: str) -> None:
    assert after(compiled, set_default(value)) == []


@pytest.mark.parametrize("image", ["r.example:5000/s/cpu:1-0123456789abcdef", "s/cpu@sha256:" + "a" * 64])
def test_image_pinned_to_content_is_left_alone(compiled: list[Any], image: str) -> None:
    assert after(compiled, lambda spec, _: container(spec).update(image=image)) == []


def test_uncached_step_behind_uncached_is_left_alone(compiled: list[Any]) -> None:
    def change(spec: dict[str, Any], pods: Any) -> None:
        for task in ("fetch", "learn"):
            switch_cache(task, on=False)(spec, pods)

    assert after(compiled, change) == []


def run_module(*paths: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pipelines.lint_ir", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_command_names_file_and_finding_and_exits_1(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("pipelineInfo: {name: x}\nretries: 3\n")
    done = run_module(str(path))
    assert done.returncode == 1
    assert done.stdout.startswith(f"{path}: the pipeline document does not parse")


def test_command_without_files_says_how_it_is_used() -> None:
    done = run_module()
    assert done.returncode == 2
    assert "usage" in done.stderr
