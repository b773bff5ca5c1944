"""Whose server is it: the embedded one, or one that the user brings by setting its variable himself.

Reads the environment and the installation. A variable that already names the embedded server (because a caller put
`environment()` into its own environment) does not count as the user's.
"""

from __future__ import annotations

import os

from pipelines.embedded.installation import Installation
from pipelines.embedded.service import Service
from silhouette.errors import SettingError


def is_own(service: Service, installation: Installation) -> bool:
    """Tell whether the user's environment names another server than the embedded one."""
    value = os.environ.get(service.variable_names[0], "")
    if not value:
        return False
    return not installation.record(service.name).ports or service.address(installation) not in value


def variables_of(service: Service, installation: Installation) -> dict[str, str]:
    """Return the SILHOUETTE_* variables of one service, embedded or the user's own.

    Raises:
        SettingError: The user set only some of what is needed to reach a server of his own.
    """
    if not is_own(service, installation):
        return service.variables(installation)
    own = {}
    leader = service.variable_names[0]
    for variable in service.variable_names:
        value = os.environ.get(variable) or service.variable_defaults.get(variable)
        if value is None:
            raise SettingError(f"{variable} must be set since {leader} is, it is empty; set it, or unset {leader}")
        own[variable] = value
    return own
