"""What became of masks that were handed in, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from silhouette.import_masks.returned import Refused

_EXAMPLES = 10


@dataclass(kw_only=True)
class ImportReport:
    """What was done, or in a dry run would be.

    Attributes:
        group: Raw.
        reviewer: Who corrected.
        dry_run: Whether nothing was written.
        taken: Pictures, by id, that got a new version with people.
        nobody: Pictures, by id, that got one without people: nobody is there.
        unchanged: Pictures that came back as they were exported, or as somebody handed them in before.
        approved: Of pictures that came back as they were exported, those that were approved for it.
        refused: What cannot be taken.
    """

    group: str
    reviewer: str
    dry_run: bool
    taken: list[str] = field(default_factory=list)
    nobody: list[str] = field(default_factory=list)
    unchanged: int = 0
    approved: int = 0
    refused: list[Refused] = field(default_factory=list)

    def summary(self) -> str:
        """Return the counts in words."""
        return (
            f"{len(self.taken)} corrected, {len(self.nobody)} with nobody on them, {self.unchanged} unchanged,"
            f" {self.approved} unchanged and approved, {len(self.refused)} refused"
        )

    def lines(self) -> list[str]:
        """Return what a person reads: the counts, some of the pictures, and everything that was refused."""
        lines = [f"{'nothing was written; it would be ' if self.dry_run else ''}{self.summary()}"]
        for what, ids in (("corrected", self.taken), ("nobody", self.nobody)):
            if ids:
                more = f" and {len(ids) - _EXAMPLES} more" if len(ids) > _EXAMPLES else ""
                lines.append(f"{what}: {', '.join(map(_shown, ids[:_EXAMPLES]))}{more}")
        return lines + [f"refused: {_shown(item.where)}: {_shown(item.why)}" for item in self.refused]

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def _shown(text: str) -> str:
    """Return a text on one line, quoted when a terminal would take part of it for an order."""
    line = " ".join(text.split())
    return line if line.isprintable() else ascii(line)
