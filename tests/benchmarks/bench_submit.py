"""How long `make submit` takes from a warm checkout to the run's id: a fresh process, everything checked on the way.

The servers speak KFP's, Kubernetes' and the registry's protocols on loopback; the store is real and holds the model.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines import embedded
from pipelines.compile import COMPILED
from pipelines.load import images, read_documents
from tests.benchmarks import Benchmark
from tests.pipelines.cluster.kube_server import KubeServer
from tests.pipelines.cluster.registry_server import RegistryServer

CHECKOUT = Path(__file__).resolve().parents[2]
ENTERS = ("components", "config", "images", "pipelines", "samples")


def _committed_copy(folder: Path) -> Path:
    """Commit a copy of the checkout: the developer's own may have changes, which are refused."""
    for name in ENTERS:
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(folder), "-c", "user.name=a benchmark", "-c", "user.email=bench@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


@contextmanager
def cluster() -> Iterator[tuple[Path, dict[str, str]]]:
    with tempfile.TemporaryDirectory() as scratch, KubeServer() as kube, RegistryServer() as registry:
        checkout = _committed_copy(Path(scratch) / "checkout")
        registry.images = {f"team/{image}" for image in images(read_documents(COMPILED / "training.yaml"))}
        config = Path(scratch) / "kubeconfig"
        config.write_text(kube.kubeconfig())
        state = Path(scratch) / "state"
        try:
            services = embedded.up(state, services=("object_store",)).environment
            yield (
                checkout,
                {
                    **os.environ,
                    **services,
                    "KUBECONFIG": str(config),
                    "SILHOUETTE_REGISTRY": f"127.0.0.1:{registry.port}/team",
                    "PYTHONPATH": f"{checkout}:{checkout / 'components'}",
                },
            )
        finally:
            embedded.down(state)


def submit(place: tuple[Path, dict[str, str]]) -> None:
    checkout, environ = place
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.submit", "--group", "outfit", "--wait", "0"],
        cwd=checkout, env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "\nid    " in done.stdout


BENCHMARK = Benchmark(
    name="submit.run_id", ours=submit, other=5.0, setup=cluster, small=cluster, target=1.0, repetitions=5
)
