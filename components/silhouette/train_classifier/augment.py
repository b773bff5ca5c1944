"""Other views of a training crop: flip, zoom, another background behind the person, colour, erasing.

Reads views of places from a folder of crops (split ``background_train``); writes nothing. Tensors are uint8, so that it
is cheap in the processes that decode. The mask goes through the geometry as a fourth channel of the crop, by the same
arithmetic, so that it stays where the person is to the last pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from silhouette.contracts import crops as crops_contract
from silhouette.errors import InputError

if TYPE_CHECKING:
    from silhouette.config import TrainingConfig

_BLUR_SIDE = 12  # a background scaled down to this many pixels and up again keeps its colours and no shapes
_PLACE_SHARES = (0.5, 1.0)  # of a place's area that is shown
SET, BLUR, FILL = "set", "blur", "fill"


class Places(Protocol):
    """Views of places to put behind people: uint8 [3, side, side]."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> torch.Tensor: ...


class StoredPlaces:
    """The places of a folder of crops; each process opens them for itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = len(crops_contract.CropTable(folder, crops_contract.BACKGROUND_TRAIN))
        self._table: crops_contract.CropTable | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> torch.Tensor:
        if self._table is None:
            self._table = crops_contract.CropTable(self._folder, crops_contract.BACKGROUND_TRAIN)
        return torch.tensor(crops_contract.decode_jpeg(self._table[index].jpeg)).permute(2, 0, 1)


def shares_of(config: TrainingConfig, *, background: str, places: int) -> dict[str, float]:
    """Return which share of the training crops gets which kind of another background, by kind.

    Args:
        config: The recipe.
        background: Of the crops themselves, ``keep`` or ``grey``: where only the person is seen, nothing is replaced.
        places: How many views of places there are; without any, blur and fill take their share.

    Raises:
        InputError: Places are the only kind that is asked for, and there is none.
    """
    if background != "keep" or not config.background_swap:
        return {}
    parts = {SET: config.background_set if places else 0.0, BLUR: config.background_blur, FILL: config.background_fill}
    whole = sum(parts.values())
    if not whole:
        raise InputError(
            f"training.background_swap ({config.background_swap}) needs something to put behind people, got"
            f" background_set {config.background_set} with no background set, background_blur and background_fill 0;"
            " name a set (background_pixsets), or give one of them a part"
        )
    return {kind: config.background_swap * part / whole for kind, part in parts.items() if part}


class TrainView:
    """Show a crop as the network gets it in training.

    Args:
        size: Side of what comes out, in pixels.
        config: The recipe.
        shares: Of the crops that get another background, by its kind, as `shares_of` returned them.
        places: For the kind ``set``.
    """

    def __init__(self, size: int, config: TrainingConfig, *, shares: dict[str, float], places: Places) -> None:
        self._shares, self._places, self._feather = shares, places, config.background_feather
        self.needs_mask = bool(shares)
        self._geometry = v2.Compose(
            [v2.RandomHorizontalFlip(), v2.RandomResizedCrop(size, (config.min_zoom, 1.0), (0.85, 1.18))]
        )
        self._place = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomResizedCrop(size, _PLACE_SHARES, (1.0, 1.0))])
        self._colour = v2.Compose(
            [v2.ColorJitter(0.25, 0.25, 0.2, 0.02), v2.RandomErasing(config.random_erasing, (0.02, 0.12))]
        )

    def __call__(self, crop: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return another view.

        Args:
            crop: uint8 [3, side, side].
            mask: uint8 [side, side], 0 or 255; None where `needs_mask` says that nobody looks at it.

        Returns:
            uint8 [3, size, size].
        """
        crop, mask = self.move(crop, mask)
        drawn = torch.rand(()).item()
        if mask is not None:
            for kind, share in self._shares.items():
                if drawn < share:
                    crop = over(crop, _pulled_in(mask), self._background(kind, crop), feather=self._feather)
                    break
                drawn -= share
        return torch.Tensor(self._colour(crop)).to(torch.uint8)

    def move(self, crop: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Flip and zoom a crop, and its mask exactly as the crop; the mask that comes out has soft edges."""
        if mask is None:
            return self._geometry(crop), None
        moved = self._geometry(torch.cat([crop, mask[None]]))
        return moved[:3], moved[3]

    def _background(self, kind: str, crop: torch.Tensor) -> torch.Tensor:
        if kind == SET:
            shown: torch.Tensor = self._place(self._places[int(torch.randint(len(self._places), ()))])
            return shown
        if kind == BLUR:
            return F.resize(F.resize(crop, [_BLUR_SIDE, _BLUR_SIDE]), list(crop.shape[-2:]))
        return torch.randint(0, 256, (3, 1, 1), dtype=torch.uint8).expand_as(crop)


def _pulled_in(mask: torch.Tensor) -> torch.Tensor:
    """Take a pixel off all around, or a rim of the old place would come along and tell what it was."""
    return -torch.nn.functional.max_pool2d(-(mask > 127).float()[None], 3, stride=1, padding=1)[0] * 255


def over(person: torch.Tensor, mask: torch.Tensor, background: torch.Tensor, *, feather: float) -> torch.Tensor:
    """Lay the person of one picture over another one, as `silhouette.compositing.over` does for arrays.

    Args:
        person: uint8 [3, height, width].
        mask: uint8 [height, width]; over 127 is the person.
        background: As `person`.
        feather: Width of the soft edge as the sigma of a Gaussian, in pixels; 0 keeps it hard.

    Returns:
        uint8 [3, height, width].
    """
    share = (mask > 127).float()[None]
    if feather > 0:
        # OpenCV's own size of the kernel for this sigma; a larger one than the picture cannot be mirrored at its border
        side = min(round(8 * feather + 1) | 1, 2 * min(mask.shape) - 1)
        share = F.gaussian_blur(share, [side, side], [feather, feather])
    return (share * person + (1 - share) * background).round().to(torch.uint8)
