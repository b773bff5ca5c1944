"""What a step asks of the cluster: CPU, memory, time, retries, GPU pool, and which secrets it may see.

A laptop run ignores all of it but the names of the environment variables, which are the same there.
"""

from typing import Any

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_channel import PipelineChannel

# where each variable comes from on the cluster: (object, key) by environment variable
STORE_CONFIG = {
    "s3_endpoint": "SILHOUETTE_S3_ENDPOINT",
    "s3_secure": "SILHOUETTE_S3_SECURE",
    "s3_bucket": "SILHOUETTE_S3_BUCKET",
}
STORE_SECRET = {"access_key": "SILHOUETTE_S3_ACCESS_KEY", "secret_key": "SILHOUETTE_S3_SECRET_KEY"}
CONFIG_MAP = "silhouette"
GPU_NODES = {"silhouette/pool": "gpu"}  # the pool of GPU nodes, unless a run names another
GPU_TOLERATIONS = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def on_cpu(
    task: PipelineTask, *, title: str, cpu: str = "1", memory: str = "2Gi", minutes: int = 60, cached: bool = True
) -> PipelineTask:
    """Give a step what every step has: a name to read, limits, a deadline, retries and an unprivileged user.

    Args:
        task: The step.
        title: Its name in the UI.
        cpu: Requested cores.
        memory: Request and limit.
        minutes: Deadline.
        cached: Whether KFP may reuse an earlier result of the same inputs.
    """
    task.set_display_name(title)
    task.set_caching_options(cached)
    task.set_cpu_request(cpu).set_memory_request(memory).set_memory_limit(memory)
    task.set_retry(num_retries=2, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s")
    kubernetes.set_timeout(task, minutes * 60)
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    kubernetes.add_pod_label(task, "app.kubernetes.io/part-of", "silhouette")
    kubernetes.set_security_context(task, run_as_user=1000, run_as_group=1000, run_as_non_root=True)
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, STORE_CONFIG)
    kubernetes.use_secret_as_env(task, "silhouette-store", STORE_SECRET)
    return task


def on_gpu(
    task: PipelineTask,
    *,
    title: str,
    gpus: PipelineChannel | int,
    node_selector: PipelineChannel | dict[str, Any],
    tolerations: PipelineChannel | list[Any],
    memory: str = "16Gi",
    minutes: int = 720,
    cached: bool = True,
) -> PipelineTask:
    """Give a step a place in the GPU pool; 0 GPUs is a CPU node of that pool's selector.

    Args:
        task: The step.
        title: Its name in the UI.
        gpus: Number of accelerators.
        node_selector: Labels of the pool's nodes.
        tolerations: Kubernetes tolerations of the pool's taints.
        memory: Request and limit.
        minutes: Deadline.
        cached: Whether KFP may reuse an earlier result of the same inputs.
    """
    on_cpu(task, title=title, cpu="4", memory=memory, minutes=minutes, cached=cached)
    task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(gpus)
    kubernetes.add_node_selector_json(task, node_selector)
    kubernetes.add_toleration_json(task, tolerations)
    # workers hand batches over in shared memory, of which a pod has 64 MB unless told otherwise
    kubernetes.empty_dir_mount(
        task,
        volume_name="shared-memory",
        mount_path="/dev/shm",  # noqa: S108 - a mount point
        medium="Memory",
        size_limit="8Gi",
    )
    return task


def with_database(task: PipelineTask) -> PipelineTask:
    """Let a step reach PostgreSQL."""
    kubernetes.use_secret_as_env(task, "silhouette-postgres", {"dsn": "SILHOUETTE_POSTGRES_DSN"})
    return task


def with_triton(task: PipelineTask) -> PipelineTask:
    """Let a step reach Triton, and each of its replicas where the cluster names the service."""
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {"triton_url": "SILHOUETTE_TRITON_URL"})
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {"triton_service": "SILHOUETTE_TRITON_SERVICE"}, optional=True)
    return task


def with_picture_service(task: PipelineTask) -> PipelineTask:
    """Let a step reach the picture service; a group that comes from a folder or the store needs none."""
    kubernetes.use_config_map_as_env(
        task,
        CONFIG_MAP,
        {
            "picture_service_url": "SILHOUETTE_PICTURE_SERVICE_URL",
            "allowed_addresses": "SILHOUETTE_ALLOWED_ADDRESSES",
        },
        optional=True,
    )
    kubernetes.use_secret_as_env(
        task, "silhouette-picture-service", {"token": "SILHOUETTE_PICTURE_SERVICE_TOKEN"}, optional=True
    )
    return task


def with_wandb(task: PipelineTask) -> PipelineTask:
    """Let a step reach Weights & Biases when there is a key: models of its, and reports, without one kept offline."""
    kubernetes.use_secret_as_env(task, "silhouette-wandb", {"api_key": "WANDB_API_KEY"}, optional=True)
    return task
