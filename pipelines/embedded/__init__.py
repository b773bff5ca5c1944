"""The cluster's services in miniature: real PostgreSQL, S3 and Triton servers, and the picture service, on loopback.

    up(state_dir)           bring them up (reused when they run and serve, healed when dead)
    down(state_dir)         stop them; data, ports and secrets stay
    status(state_dir)       what runs
    environment(state_dir)  the SILHOUETTE_* variables by which the steps find them

Reads and writes only the state folder (``.silhouette``): state.json (0600), lock, logs/, and a data folder a service.
They are daemons: they outlive who started them, until `down`. ``python -m pipelines.embedded up|down|status``.
"""

from pipelines.embedded.services import ALL, Services, ServiceStatus, down, environment, status, up

__all__ = ["ALL", "ServiceStatus", "Services", "down", "environment", "status", "up"]
