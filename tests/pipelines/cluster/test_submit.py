"""`make submit` against servers that speak the protocols of KFP, Kubernetes and a registry."""

import hashlib
import itertools
import json
import os
import re
from pathlib import Path

import pytest

from pipelines import submit
from pipelines.cluster import __main__ as commands
from pipelines.cluster import kfp_calls
from pipelines.compile import COMPILED
from pipelines.embedded.picture_service import create_app
from pipelines.load import dump, for_place, read_documents
from silhouette.store import Store
from tests.loopback import TOKEN, serving, write_classes, write_group
from tests.pipelines.cluster.conftest import Cluster, Program
from tests.pipelines.cluster.kfp_server import Plan
from tests.pipelines.cluster.kube_server import PROXY, node
from tests.pipelines.cluster.stand_in import Fault

GROUP = "summer “test” $1/Лето"
TRAINING = COMPILED / "training.yaml"


def _one_line(err: str) -> str:
    told = [line for line in err.splitlines() if line]
    assert len(told) == 1, err
    assert told[0].startswith("error: ")
    return told[0]


def test_run_goes_out_is_followed_and_its_success_is_exit_code_0(program: Program, cluster: Cluster) -> None:
    cluster.kube.plan = Plan(cached={"download-pictures"}, waits={"train-classifier"})
    done = program("--group", GROUP, "--args", "epochs=3 backbone=resnet18")
    assert done.code == 0, done.err
    run = cluster.kube.runs[done.run_id]
    assert run["runtime_config"]["parameters"] == {
        "group": GROUP,
        "epochs": 3,
        "backbone": "resnet18",
        "model_path": run["runtime_config"]["parameters"]["model_path"],
    }
    assert cluster.kube.experiments[run["experiment_id"]]["display_name"] == GROUP
    assert run["display_name"].startswith(f"{GROUP} training 20")
    told = re.findall(r"^\d\d:\d\d:\d\d  (\w+) +Train classifier", done.out, re.MULTILINE)
    assert told == ["waiting", "running", "done"]
    assert re.search(r"^\d\d:\d\d:\d\d  done      Train classifier in \d+ s$", done.out, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d  reused    Download pictures$", done.out, re.MULTILINE)
    assert not re.search(r"driver|executor|root", done.out)
    assert f"#/runs/details/{done.run_id}" in done.out
    assert "the run succeeded after" in done.out


def test_the_yaml_that_is_sent_is_the_committed_one_with_the_registry_before_its_images(
    program: Program, cluster: Cluster
) -> None:
    assert program("--group", "a", "--wait", "0").code == 0
    (sent,) = cluster.kube.documents.values()
    committed = read_documents(TRAINING)
    prefix = os.environ["SILHOUETTE_REGISTRY"]
    assert sent == for_place(read_documents(TRAINING), retries=True, registry=prefix)
    for label, executor in committed[0]["deploymentSpec"]["executors"].items():
        image = executor["container"].pop("image")
        assert sent[0]["deploymentSpec"]["executors"][label]["container"].pop("image") == f"{prefix}/{image}"
    assert sent == committed


def test_pipeline_and_version_are_uploaded_once(program: Program, cluster: Cluster) -> None:
    for _ in range(3):
        assert program("--group", "a", "--wait", "0").code == 0
    (version,) = cluster.kube.versions.values()
    assert len(cluster.kube.pipelines) == 1
    assert len(cluster.kube.experiments) == 1
    assert len(cluster.kube.runs) == 3
    document = dump(for_place(read_documents(TRAINING), retries=True, registry=os.environ["SILHOUETTE_REGISTRY"]))
    assert version["name"] == f"training-{hashlib.sha256(document.encode()).hexdigest()[:12]}"


def test_version_is_found_among_hundreds(program: Program, cluster: Cluster) -> None:
    assert program("--group", "a", "--wait", "0").code == 0
    (pipeline_id,) = cluster.kube.pipelines
    for number in range(250):
        cluster.kube.versions[str(number)] = {
            "pipeline_id": pipeline_id, "pipeline_version_id": str(number), "name": str(number),
            "display_name": str(number),
        }  # fmt: skip
    assert program("--group", "a", "--wait", "0").code == 0
    assert len(cluster.kube.versions) == 251


def test_failed_run_is_exit_code_1_and_says_which_step_and_why(program: Program, cluster: Cluster) -> None:
    cluster.kube.plan = Plan(fails={"build-dataset": "a class must have 5 pictures, got 2"})
    done = program("--group", "a")
    assert done.code == 1
    assert re.search(r"failed    Build dataset in \d+ s: a class must have 5 pictures, got 2", done.out)
    assert re.search(r"the run failed after .*a class must have 5 pictures.*`make logs RUN=", _one_line(done.err))


def test_canceled_run_is_told_apart_from_a_failed_one(program: Program, cluster: Cluster) -> None:
    cluster.kube.plan = Plan(hangs="train-classifier")
    run_id = program("--group", "a", "--wait", "0").run_id
    canceled = program("cancel", "--run", run_id, main=commands.main)
    assert canceled.code == 0
    assert "is being canceled" in canceled.out
    followed = program("follow", "--run", run_id, "--poll-s", "0.01", main=commands.main)
    assert followed.code == 3
    assert "the run canceled after" in _one_line(followed.err)
    again = program("cancel", "--run", run_id, main=commands.main)
    assert again.code == 0
    assert "nothing to cancel" in again.out


def test_without_waiting_the_run_is_left_alone(program: Program, cluster: Cluster) -> None:
    done = program("--group", "a", "--wait", "0")
    assert done.code == 0
    assert cluster.kube.runs[done.run_id]["state"] == "PENDING"
    assert not cluster.kube.made("GET", f"/runs/{done.run_id}")


# ---- inputs


def test_local_folder_and_model_go_to_the_store_by_content_and_once(
    program: Program, cluster: Cluster, store: Store, tmp_path: Path
) -> None:
    source = write_classes(tmp_path / "my pictures", {"a": 3, "б": 3})
    model = tmp_path / "my model.pt"
    model.write_bytes(b"weights")
    done = program("--group", "a", "--source", str(source), "--model", str(model), "--wait", "0")
    assert done.code == 0, done.err
    sent = cluster.kube.runs[done.run_id]["runtime_config"]["parameters"]
    digest = hashlib.sha256(b"weights").hexdigest()
    assert sent["model_path"] == f"inputs/{digest}/my model.pt"
    assert store.get_bytes(sent["model_path"]) == b"weights"
    bucket, _, prefix = sent["source"].removeprefix("s3://").partition("/")
    assert bucket == store.bucket
    assert re.fullmatch(r"inputs/[0-9a-f]{64}", prefix)
    files = {key.removeprefix(f"{prefix}/") for key in store.list_keys(f"{prefix}/")}
    assert files == {path.relative_to(source).as_posix() for path in source.rglob("*.jpg")}
    assert json.loads(store.get_bytes(f"{prefix}.json"))["files"] == 6
    assert "sending 6 files" in done.out
    again = program("--group", "a", "--source", str(source), "--model", str(model), "--wait", "0")
    assert "sending" not in again.out
    assert cluster.kube.runs[again.run_id]["runtime_config"]["parameters"] == sent


def test_upload_that_was_cut_off_sends_only_what_is_missing(
    program: Program, cluster: Cluster, store: Store, tmp_path: Path
) -> None:
    source = write_classes(tmp_path / "cut", {"a": 3, "b": 3}, first=50)
    run_id = program("--group", "a", "--source", str(source), "--wait", "0").run_id
    prefix = cluster.kube.runs[run_id]["runtime_config"]["parameters"]["source"].partition("/inputs/")[2]
    store.remove(f"inputs/{prefix}.json")
    store.remove(f"inputs/{prefix}/a/050.jpg")
    again = program("--group", "a", "--source", str(source), "--wait", "0")
    assert "sending 1 files" in again.out
    assert store.exists(f"inputs/{prefix}/a/050.jpg")
    assert store.exists(f"inputs/{prefix}.json")


def test_changed_byte_gives_another_address(program: Program, cluster: Cluster, tmp_path: Path) -> None:
    source = write_classes(tmp_path / "changing", {"a": 2, "b": 2}, first=80)
    first = program("--group", "a", "--source", str(source), "--wait", "0").run_id
    (source / "a" / "080.jpg").write_bytes(b"other")
    second = program("--group", "a", "--source", str(source), "--wait", "0").run_id
    sent = [cluster.kube.runs[run_id]["runtime_config"]["parameters"]["source"] for run_id in (first, second)]
    assert len(set(sent)) == 2


def test_address_in_the_store_is_passed_as_it_is(program: Program, cluster: Cluster, store: Store) -> None:
    store.put_bytes("models/mine.pt", b"weights")
    done = program("--group", "a", "--source", "s3://other/prefix", "--model", "models/mine.pt", "--wait", "0")
    sent = cluster.kube.runs[done.run_id]["runtime_config"]["parameters"]
    assert (sent["source"], sent["model_path"]) == ("s3://other/prefix", "models/mine.pt")


def test_path_that_is_nowhere_is_refused_before_a_run_is_started(program: Program, cluster: Cluster) -> None:
    done = program("--group", "a", "--model", "no/such.pt")
    assert done.code == 1
    assert "model_path must be a file or folder here" in _one_line(done.err)
    assert not cluster.kube.runs


def test_store_that_is_not_named_is_one_line(
    program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SILHOUETTE_S3_ENDPOINT")
    told = _one_line(program("--group", "a").err)
    assert "the cluster's store must be named, model_path" in told
    assert "SILHOUETTE_S3_ENDPOINT must be set, it is empty; docs/cluster_runs.md" in told
    assert not cluster.kube.runs


# ---- refused before anything is started


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--args", "epoch=3"], r"a parameter must be one of the pipeline's, got 'epoch'; did you mean epochs"),
        (["--args", "epochs=many"], "epochs must be a number_integer, got 'many'"),
        (["--args", "gpus=16"], r"gpus must be one of 0 \| 1 \| 2 \| 4 \| 8, got '16'; did you mean 1\?"),
        (
            ["--pipeline", "markup", "--args", "states=aproved,nobody"],
            r"states must be one of unchecked \|.*, got 'aproved,nobody'; did you mean approved,nobody or",
        ),
        (["--args", "epochs"], "ARGS must be name=value pairs separated by spaces, got 'epochs'"),
        (["--args", "backbone='a"], "ARGS must be name=value pairs with closed quotes"),
        (["--pipeline", "trainin"], r"PIPELINE must be one of .*training.*; did you mean training\?"),
        (["--wait", "maybe"], "WAIT must be 0 or 1, got 'maybe'"),
        (["--every", "--cron", "every day"], "CRON must be minute, hour, day, month and weekday, got 'every day'"),
    ],
)
def test_wrong_words_are_refused_before_any_call(
    program: Program, cluster: Cluster, arguments: list[str], told: str
) -> None:
    done = program("--group", "a", *arguments)
    assert done.code == 1
    assert re.search(told, _one_line(done.err))
    assert not cluster.kube.asked
    assert not cluster.registry.asked


def test_missing_group_is_refused_before_any_call(program: Program, cluster: Cluster) -> None:
    done = program()
    assert done.code == 1
    assert "group is not; write GROUP=..." in _one_line(done.err)
    assert not cluster.kube.asked


def test_stale_pipeline_is_refused(program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit.compiler, "stale_pipelines", lambda names: [f"{name}.yaml" for name in names])
    done = program("--group", "a")
    assert done.code == 1
    assert "training.yaml differ; run `make compile`" in _one_line(done.err)
    assert not cluster.kube.asked


def test_change_that_is_not_committed_is_refused(program: Program, cluster: Cluster, clean_checkout: Path) -> None:
    (clean_checkout / "pyproject.toml").write_text("# another\n")
    done = program("--group", "a")
    assert done.code == 1
    assert "must be committed, 1 changed: pyproject.toml; commit them" in _one_line(done.err)
    assert not cluster.kube.asked


def test_file_that_enters_no_run_may_be_changed(program: Program, clean_checkout: Path) -> None:
    (clean_checkout / "notes.md").write_text("mine\n")
    assert program("--group", "a", "--wait", "0").code == 0


def test_no_kubeconfig_is_one_line(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    done = program("--group", "a")
    assert done.code == 1
    assert re.search(r"there is no kubeconfig at .*nowhere and no SILHOUETTE_KFP_URL", _one_line(done.err))


@pytest.mark.parametrize("content", ["", "[]", "a: [", "clusters: []\ncontexts: []\nusers: []\ncurrent-context: x\n"])
def test_damaged_kubeconfig_is_one_line(program: Program, tmp_path: Path, content: str) -> None:
    Path(os.environ["KUBECONFIG"]).write_text(content)
    done = program("--group", "a")
    assert done.code == 1
    assert "the kubeconfig must be usable" in _one_line(done.err)


def test_context_that_is_not_there_is_one_line(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILHOUETTE_KUBE_CONTEXT", "elsewhere")
    done = program("--group", "a")
    assert done.code == 1
    assert "elsewhere" in _one_line(done.err)


def test_expired_token_is_one_line(program: Program, cluster: Cluster) -> None:
    cluster.kube.token = "another"
    done = program("--group", "a")
    assert done.code == 1
    assert re.search(r"must accept the login.*expired \(401\); renew the kubeconfig's login", _one_line(done.err))
    assert not cluster.kube.runs


def test_kfp_too_old_for_the_yaml_is_refused(program: Program, cluster: Cluster) -> None:
    cluster.kube.release = "2.5.0"
    done = program("--group", "a")
    assert done.code == 1
    assert "KFP must be 2.16 or newer to read the pipeline training, the cluster has 2.5.0" in _one_line(done.err)
    assert not cluster.kube.pipelines


def test_kfp_that_does_not_know_its_release_is_asked_all_the_same(program: Program, cluster: Cluster) -> None:
    cluster.kube.release = "unknown"
    assert program("--group", "a", "--wait", "0").code == 0


@pytest.mark.parametrize(
    ("missing", "key", "told"),
    [
        (
            ("secrets", "silhouette-postgres"),
            "",
            "the Secret silhouette-postgres with the key dsn must",
        ),
        (("secrets", "silhouette-store"), "secret_key", "the Secret silhouette-store with the key secret_key"),
        (("configmaps", "silhouette"), "triton_url", "the ConfigMap silhouette with the key triton_url"),
    ],
)
def test_missing_secret_or_key_is_refused(
    program: Program, cluster: Cluster, missing: tuple[str, str], key: str, told: str
) -> None:
    if key:
        cluster.kube.objects[missing].remove(key)
    else:
        del cluster.kube.objects[missing]
    done = program("--group", "a")
    assert done.code == 1
    assert told in _one_line(done.err)
    assert cluster.kube.secret_value not in done.out + done.err
    assert not cluster.kube.pipelines


def test_optional_secret_may_be_missing(program: Program, cluster: Cluster) -> None:
    assert ("secrets", "silhouette-wandb") not in cluster.kube.objects
    assert program("--group", "a", "--wait", "0").code == 0


def test_secret_that_may_not_be_read_is_said_and_left_to_the_cluster(program: Program, cluster: Cluster) -> None:
    cluster.kube.forbidden = {"secrets", "nodes"}
    done = program("--group", "a", "--wait", "0")
    assert done.code == 0
    assert "not looked at: Secret silhouette-store" in done.out
    assert "not looked at: the nodes of the GPU pool" in done.out


def test_missing_service_account_is_refused(
    program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SILHOUETTE_RUN_SERVICE_ACCOUNT", "steps")
    done = program("--group", "a")
    assert done.code == 1
    assert "the ServiceAccount of the steps must be in namespace kubeflow, steps is not" in _one_line(done.err)
    cluster.kube.objects["serviceaccounts", "steps"] = []
    run_id = program("--group", "a", "--wait", "0").run_id
    assert cluster.kube.runs[run_id]["service_account"] == "steps"


TAINT = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
OTHER_TAINT = {"key": "for/others", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("nodes", "args", "told"),
    [
        ({}, "", "a node with silhouette/pool=gpu must have 1 GPUs, 0 nodes have 0 at most"),
        ({"a": node({"silhouette/pool": "gpu"}, gpus=1)}, "gpus=4", "must have 4 GPUs, 1 nodes have 1 at most"),
        ({"a": node({"silhouette/pool": "cpu"}, gpus=1)}, "", "0 nodes have 0 at most"),
        ({"a": node({"silhouette/pool": "gpu"}, gpus=0)}, "", "1 nodes have 0 at most"),
        ({"a": node({"silhouette/pool": "gpu"}, gpus=1, taints=[OTHER_TAINT])}, "", "its taints"),
        ({"a": node({"silhouette/pool": "gpu"}, gpus=1, taints=[TAINT])}, "", ""),
        ({}, "gpus=0", ""),
        ({"a": node({"zone": "x"}, gpus=1)}, """gpu_node_selector='{"zone": "x"}'""", ""),
    ],
)  # fmt: skip
def test_gpu_pool_is_there_when_gpus_are_asked_for(
    program: Program, cluster: Cluster, nodes: dict[str, object], args: str, told: str
) -> None:
    cluster.kube.nodes = nodes
    done = program("--group", "a", "--wait", "0", "--args", args)
    assert done.code == (1 if told else 0), done.err
    if told:
        assert told in _one_line(done.err)
        assert not cluster.kube.runs


def test_pool_that_grows_from_nothing_is_not_asked_for(
    program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.kube.nodes = {}
    monkeypatch.setenv("SILHOUETTE_GPU_CHECK", "0")
    assert program("--group", "a", "--wait", "0").code == 0


def test_image_that_the_registry_does_not_have_is_refused(program: Program, cluster: Cluster) -> None:
    gone = next(image for image in cluster.registry.images if "/torch:" in image)
    cluster.registry.images.remove(gone)
    done = program("--group", "a")
    assert done.code == 1
    assert re.search(rf"{gone} is not; `make images` and push it", _one_line(done.err))
    assert not cluster.kube.pipelines


def test_registry_that_cannot_be_asked_is_left_out_by_a_setting(
    program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("SILHOUETTE_REGISTRY", f"127.0.0.1:{unused_port}/x")
    done = program("--group", "a")
    assert done.code == 1
    assert "set SILHOUETTE_REGISTRY_CHECK=0" in _one_line(done.err)
    monkeypatch.setenv("SILHOUETTE_REGISTRY_CHECK", "0")
    assert program("--group", "a", "--wait", "0").code == 0


def test_no_registry_at_all_is_one_line(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SILHOUETTE_REGISTRY")
    done = program("--group", "a")
    assert done.code == 1
    assert "SILHOUETTE_REGISTRY must say where the images are" in _one_line(done.err)


def test_group_that_the_picture_service_does_not_know_is_refused(
    program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_group(tmp_path / "served", name=GROUP, classes=["a", "b"])
    with serving(create_app(tmp_path / "served", TOKEN)) as url:
        monkeypatch.setenv("SILHOUETTE_PICTURE_SERVICE_URL", url)
        monkeypatch.setenv("SILHOUETTE_PICTURE_SERVICE_TOKEN", TOKEN)
        done = program("--group", "nobody's")
        assert done.code == 1
        assert f'must be one that the picture service knows, got "nobody\'s"; it has {GROUP!r}' in _one_line(done.err)
        assert not cluster.kube.pipelines
        assert program("--group", GROUP, "--wait", "0").code == 0


# ---- faults on the way


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kfp_calls, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(kfp_calls, "_LONGEST_PAUSE_S", 0.02)


MAKES = ("/pipelines", "/upload_version", "/experiments", "/runs")


@pytest.mark.parametrize(("part", "kind"), [*itertools.product(MAKES, ("drop", "drop_after", 503, 429))])
def test_lost_answer_makes_nothing_twice(
    program: Program, cluster: Cluster, patient: None, part: str, kind: str | int
) -> None:
    cluster.kube.faults = [Fault("POST", part, kind, times=2)]
    done = program("--group", "a", "--wait", "0")
    assert done.code == 0, done.err
    assert [len(made) for made in (cluster.kube.pipelines, cluster.kube.versions, cluster.kube.experiments)] == [1] * 3
    assert list(cluster.kube.runs) == [done.run_id]


@pytest.mark.parametrize("kind", ["drop", 500, 502])
def test_lost_connection_while_following_resumes(
    program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, kind: str | int
) -> None:
    run_id = program("--group", "a", "--wait", "0").run_id
    monkeypatch.setattr(kfp_calls.Calls.__init__, "__kwdefaults__", {"patience_s": 0.0})
    cluster.kube.faults = [Fault("GET", f"/runs/{run_id}", kind, times=5)]
    done = program("follow", "--run", run_id, "--poll-s", "0.01", main=commands.main)
    assert done.code == 0, done.err
    assert len(re.findall("  lost  ", done.out)) == 1
    assert re.search(r"  back  after \d+ s", done.out)
    assert "the run succeeded" in done.out


def test_token_that_expires_while_following_is_read_anew(
    program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    cluster.kube.token = "first"
    monkeypatch.setenv("SILHOUETTE_KFP_URL", f"{cluster.kube.url}{PROXY}")
    monkeypatch.setenv("SILHOUETTE_KFP_TOKEN_FILE", str(file))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    run_id = program("--group", "a", "--wait", "0").run_id
    cluster.kube.token = "second"
    refused = program("follow", "--run", run_id, main=commands.main)
    assert refused.code == 1
    assert re.search(rf"expired \(401\).*the run goes on: `make follow RUN={run_id}`", _one_line(refused.err))
    answer = cluster.kube._get_run

    def look_then_expire(*arguments: object) -> object:
        if len(cluster.kube.made("GET", f"/runs/{run_id}")) == 4:
            cluster.kube.token = "third"
            file.write_text("third")
        return answer(*arguments)

    file.write_text("second")
    monkeypatch.setattr(cluster.kube, "_get_run", look_then_expire)
    followed = program("follow", "--run", run_id, "--poll-s", "0.01", main=commands.main)
    assert followed.code == 0, followed.err
    assert cluster.kube.token == "third"


def test_kfp_that_is_away_is_one_line(program: Program, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setenv("SILHOUETTE_KFP_URL", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setattr(kfp_calls.Calls.__init__, "__kwdefaults__", {"patience_s": 0.0})
    done = program("--group", "a")
    assert done.code == 1
    assert re.search(rf"KFP at http://127.0.0.1:{unused_port} must be reachable to look at KFP", _one_line(done.err))


def test_address_that_is_not_kfps_is_one_line(
    program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SILHOUETTE_KFP_URL", cluster.registry.url)
    monkeypatch.setattr(cluster.registry, "answer", lambda asked: b"<html>a login page</html>")
    monkeypatch.setattr(kfp_calls.Calls.__init__, "__kwdefaults__", {"patience_s": 0.0})
    done = program("--group", "a")
    assert done.code == 1
    assert "see whether the address is KFP's" in _one_line(done.err)


# ---- again and again, and afterwards


def test_schedule_is_made_listed_and_ended(program: Program, cluster: Cluster) -> None:
    done = program("--group", "a", "--args", "epochs=2", "--every", "--cron", "0 3 * * 1")
    assert done.code == 0, done.err
    ((made_id, made),) = cluster.kube.recurring.items()
    assert made["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 1"  # KFP's first field is the second
    assert (made["mode"], made["max_concurrency"], made["no_catchup"]) == ("ENABLE", "1", True)
    assert made["runtime_config"]["parameters"]["epochs"] == 2
    assert made_id in done.out
    listed = program("runs", main=commands.main)
    assert re.search(rf"^{made_id}  scheduled   0 0 3 \* \* 1  a training", listed.out, re.MULTILINE)
    ended = program("cancel", "--run", made_id, main=commands.main)
    assert "is ended" in ended.out
    assert not cluster.kube.recurring
    assert "there is no" in _one_line(program("cancel", "--run", made_id, main=commands.main).err)


def test_runs_are_listed_newest_first_and_by_group(program: Program, cluster: Cluster) -> None:
    first = program("--group", "a").run_id
    second = program("--group", GROUP, "--wait", "0").run_id
    listed = program("runs", main=commands.main).out.splitlines()
    assert [line.split()[:2] for line in listed] == [[second, "pending"], [first, "succeeded"]]
    of_one = program("runs", "--group", GROUP, main=commands.main).out.splitlines()
    assert [line.split()[0] for line in of_one] == [second]
    unknown = program("runs", "--group", "b", main=commands.main)
    assert unknown.code == 1
    assert "'b' was not" in _one_line(unknown.err)


def test_logs_are_of_all_steps_or_of_one(program: Program, cluster: Cluster) -> None:
    cluster.kube.plan = Plan(cached={"download-pictures"}, fails={"build-dataset": "no"})
    run_id = program("--group", "a").run_id
    everything = program("logs", "--run", run_id, main=commands.main)
    assert everything.code == 0, everything.err
    heads = [line for line in everything.out.splitlines() if line.startswith("==> ")]
    assert "==> What is there (source-version)" in heads
    assert "==> Build dataset (build-dataset)" in heads
    assert not [head for head in heads if "download-pictures" in head]  # reused: it printed nothing
    one = program("logs", "--run", run_id, "--step", "build_dataset", main=commands.main)
    assert len(re.findall("^==> ", one.out, re.MULTILINE)) == 1
    assert "another, Лето" in one.out
    wrong = program("logs", "--run", run_id, "--step", "build", main=commands.main)
    assert wrong.code == 1
    assert "there is build-dataset" in _one_line(wrong.err)


@pytest.mark.parametrize("command", ["follow", "logs", "cancel"])
def test_run_that_is_not_named_or_not_there_is_one_line(program: Program, command: str) -> None:
    assert "RUN must be a run's id, it is empty" in _one_line(program(command, main=commands.main).err)
    gone = program(command, "--run", "0-0", main=commands.main)
    assert gone.code == 1
    assert "0-0" in _one_line(gone.err)


def test_many_users_share_kfp_by_namespaces(
    program: Program, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.kube.multi_user = True
    assert program("--group", "a", "--wait", "0").code == 0
    (experiment,) = cluster.kube.experiments.values()
    (pipeline,) = cluster.kube.pipelines.values()
    assert experiment["namespace"] == pipeline["namespace"] == "kubeflow"
