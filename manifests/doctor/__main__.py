"""Print a line for each thing that must be so, and for each that is not what to do; exit with 1 if there is one."""

from __future__ import annotations

import argparse

from manifests import api, secrets
from manifests.doctor import Patient, look_over
from manifests.render import render
from silhouette.errors import SilhouetteError
from silhouette.step import configure_logging


def main() -> None:
    """Look over the cluster of the current context."""
    parser = argparse.ArgumentParser(description="Look a cluster over, and say what to do.")
    parser.add_argument("--overlay", default="kind", help="what it should be like (default: kind)")
    parser.add_argument("--context", help="of the kubeconfig; default: the current one")
    given = parser.parse_args()
    configure_logging()
    try:
        patient = Patient(
            cluster=api.connect(given.context),
            overlay=given.overlay,
            objects=render(given.overlay),
            run_namespace=secrets.run_namespace(given.overlay),
        )
        print(f"cluster {patient.cluster.address}, overlay {given.overlay}, steps in {patient.run_namespace}")
        bad = 0
        for finding in look_over(patient):
            bad += bool(finding.way_out)
            print(f"{'FAIL' if finding.way_out else 'ok  '}  {finding.what}: {finding.detail}", flush=True)
            if finding.way_out:
                print(f"      -> {finding.way_out}")
        print(f"{bad} to be put right" if bad else "all is well")
        raise SystemExit(bool(bad))
    except SilhouetteError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
