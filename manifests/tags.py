"""Write manifests/components/images: the tags of our images, as the compiled pipelines name them (`make compile`).

Reads what silhouette/containers.py hashes. The Jobs carry the tag of the cpu image in their names, since a Job that
is there cannot be changed, and a new release has a new migration to run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from silhouette.containers import REPOSITORY, image_reference

PATH = Path(__file__).resolve().parent / "components" / "images" / "kustomization.yaml"
DEPLOYED = ("cpu", "triton")  # torch and yolo are named by the pipelines alone
JOBS = ("migrate", "minio-setup")


def fragment() -> str:
    """Return the component that gives images their tags and Jobs their names."""
    tags = {image: image_reference(image).rpartition(":")[2] for image in DEPLOYED}
    lines = [
        "# Made by `make compile`; do not edit. On a conflict take either side and run it.",
        "apiVersion: kustomize.config.k8s.io/v1alpha1",
        "kind: Component",
        "images:",
    ]
    lines += [f"  - {{name: {REPOSITORY}/{image}, newTag: {tag}}}" for image, tag in tags.items()]
    lines.append("patches:")
    for job in JOBS:
        lines += [
            f"  - target: {{kind: Job, name: {job}}}",
            "    options: {allowNameChange: true}",
            "    patch: |",
            f"      - {{op: replace, path: /metadata/name, value: {job}-{tags['cpu'].rpartition('-')[2]}}}",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the component; with ``--check`` only say whether it is fresh."""
    if "--check" in sys.argv[1:]:
        if not PATH.is_file() or PATH.read_text(encoding="utf-8") != fragment():
            raise SystemExit(f"error: {PATH.name} of {PATH.parent.name} must be fresh, it is not; run `make compile`")
        return
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(fragment(), encoding="utf-8")
    print(PATH.relative_to(PATH.parents[3]))


if __name__ == "__main__":
    main()
