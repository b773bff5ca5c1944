"""The exceptions that end in one clear line and exit code 1.

    SilhouetteError
    ├── InputError        what the user gave cannot be worked with
    │   └── PictureError  one picture cannot be opened (recorded; never ends a run)
    ├── SettingError      an environment variable or configuration entry is missing or wrong
    ├── ServiceError      PostgreSQL, the store, Triton or the picture service failed or cannot be reached
    ├── ParityError       the exported model does not answer as the trained one
    └── GateRefusedError  the evaluation refused the model

silhouette.store has finer ones below InputError and ServiceError for what a server answers.

Every message says the rule, the value and the way out:
``val_fraction must be between 0 and 1, got 1.5; set it in config/default.yaml``.
"""


class SilhouetteError(Exception):
    """Base of everything that a user is told in one line."""


class InputError(SilhouetteError):
    """Refuse input that cannot be worked with."""


class PictureError(InputError):
    """Refuse one picture; `reason` is a short stable word for tables (``truncated``, ``too_large``, ...)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class SettingError(SilhouetteError):
    """Name a setting that is missing or wrong."""


class ServiceError(SilhouetteError):
    """Name a service that failed or cannot be reached."""


class ParityError(SilhouetteError):
    """Stop the release of a model that answers differently after export."""


class GateRefusedError(SilhouetteError):
    """Stop the deployment of a model that the gate refused."""
