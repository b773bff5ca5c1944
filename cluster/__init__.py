"""The programs behind `make doctor`, `make secrets`, `make cluster` and the checks of manifests/."""
