"""What no schema catches, held over the rendered objects of an overlay.

pods     restricted Pod Security, resources, probes, images, a root that cannot be written to
wiring   what is named exists: selectors, volumes, ConfigMaps, Secrets, accounts, targets
secrecy  no secret value anywhere, rights without wildcards, doors that are shut unless opened

Each rule is a function from all objects to one line a breach: the object, the rule, what was found.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from manifests.policy import pods, secrecy, wiring
from manifests.policy.objects import Object

RULES: tuple[Callable[[Sequence[Object]], Iterator[str]], ...] = (*pods.RULES, *wiring.RULES, *secrecy.RULES)


def breaches(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return every breach of every rule."""
    given = [Object(item) for item in objects]
    return [breach for rule in RULES for breach in rule(given)]
