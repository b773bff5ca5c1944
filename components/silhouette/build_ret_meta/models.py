"""The models that are asked: served by Triton, or an ONNX file that answers in this process.

Reads the configuration's `models`, Triton, model cards (`contracts.model_bundle`), the evaluation beside an ONNX file.
What `deploy_model` put into the model repository passed its gate, or it would not be there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from silhouette.config import Config, ModelConfig
from silhouette.contracts import evaluation, model_bundle
from silhouette.contracts.deployment import card_key
from silhouette.contracts.evaluation import Evaluation
from silhouette.contracts.model_bundle import ModelCard
from silhouette.contracts.ret_meta import Gate, Model
from silhouette.cut_people import CropShape
from silhouette.errors import InputError
from silhouette.file_digest import sha256_of
from silhouette.input_file import resolve_file
from silhouette.names import safe_key
from silhouette.onnx_model import OnnxModel
from silhouette.store import MissingObjectError, Store
from silhouette.triton_client import Triton

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BATCH, _IN_FLIGHT = 32, 2

A = TypeVar("A")
Card = TypeVar("Card", bound=BaseModel)


class AskedModel(ABC):
    """A model that answers for a group.

    Attributes:
        group: Whose classes it names.
        shape: How people are cut out for it.
        told: What a document says of it.
        where: Where it is asked, in words.
        batch: Crops of one question at most.
    """

    def __init__(
        self, group: str, card: ModelCard, *, gate: Gate, settings: ModelConfig, where: str, batch: int
    ) -> None:
        self.group, self.where, self.batch = group, where, batch
        self.shape = CropShape(size=card.crop_size, margin=card.crop_margin, background=card.background)
        self.told = Model(
            classes=card.classes,
            onnx_sha256=card.onnx_sha256,
            experiment=card.experiment,
            crops_digest=card.crops_digest,
            abstain_below=settings.abstain_below,
            gate=gate,
        )

    @property
    def identity(self) -> list[Any]:
        """Return all of it that an answer depends on."""
        shape = self.shape
        return [self.group, self.told.model_dump(), shape.size, shape.margin, shape.background]

    @abstractmethod
    def answers(
        self, batches: Iterable[tuple[A, npt.NDArray[np.uint8]]]
    ) -> Iterator[tuple[A, npt.NDArray[np.float32]]]:
        """Answer batches of crops uint8 [n, size, size, 3] with probabilities float32 [n, classes], in order.

        A batch without crops comes back with an empty answer. Only a few batches are read ahead.
        """


class ServedModel(AskedModel):
    """A version that Triton serves."""

    def __init__(self, group: str, settings: ModelConfig, *, store: Store, triton: Triton) -> None:
        self._triton, self._model = triton, settings.triton or safe_key(group)
        served = triton.versions(self._model)
        wanted = str(settings.version or "")
        if not served or (wanted and wanted not in served):
            raise InputError(
                f"the model of group {group!r} must be served, Triton at {triton.url} does not have {self._model!r}"
                f"{wanted and f' version {wanted}'} (served: {', '.join(served) or 'none'}); deploy it, or correct"
                " `models` in the configuration"
            )
        self._version = wanted or served[-1]
        key = card_key(self._model, self._version)
        try:
            card = _read(ModelCard, store.get_bytes(key), where=key)
        except MissingObjectError:
            raise InputError(
                f"a served model must have its card in the store, {self._model!r} version {self._version} has no {key};"
                " deploy it with `silhouette deploy`"
            ) from None
        config = triton.config(self._model, version=self._version)
        if (config.classes, config.crop_size) != (len(card.classes), card.crop_size):
            raise InputError(
                f"a served model must be what its card says: {len(card.classes)} classes and crops of"
                f" {card.crop_size}, {self._model!r} version {self._version} has {config.classes} and"
                f" {config.crop_size}; deploy it again"
            )
        super().__init__(
            group, card, gate="passed", settings=settings, where=f"{self._model} version {self._version}",
            batch=min(BATCH, config.max_batch_size),
        )  # fmt: skip

    def answers(
        self, batches: Iterable[tuple[A, npt.NDArray[np.uint8]]]
    ) -> Iterator[tuple[A, npt.NDArray[np.float32]]]:
        """Ask Triton, a few batches at the same time."""
        return self._triton.infer_many(self._model, batches, version=self._version, in_flight=_IN_FLIGHT)


class FileModel(AskedModel):
    """An ONNX file with its card, and its evaluation if there is one; fetched into `folder`."""

    def __init__(self, group: str, settings: ModelConfig, *, store: Store, folder: Path) -> None:
        path = resolve_file(settings.onnx, what=f"the model of group {group!r}", folder=folder, store=store)
        card_file = resolve_file(
            _beside(settings.onnx, model_bundle.JSON_NAME), what="the model's card", folder=folder, store=store
        )
        card = _read(ModelCard, card_file.read_bytes(), where=str(card_file))
        sha256 = sha256_of(path)
        if sha256 != card.onnx_sha256:
            raise InputError(
                f"a model must be the one of its card, {settings.onnx} has the SHA-256 {sha256}, {card_file} is of"
                f" {card.onnx_sha256}; export it again, or put the right {model_bundle.JSON_NAME} beside it"
            )
        self._model = OnnxModel(path)
        gate = _gate(settings, card, store=store, folder=folder)
        name = PurePosixPath(settings.onnx).name  # without its folder: documents leave the house
        super().__init__(group, card, gate=gate, settings=settings, where=name, batch=BATCH)

    def answers(
        self, batches: Iterable[tuple[A, npt.NDArray[np.uint8]]]
    ) -> Iterator[tuple[A, npt.NDArray[np.float32]]]:
        """Ask ONNX Runtime, one batch after the other."""
        import numpy as np

        for tag, crops in batches:
            empty = np.zeros((0, len(self.told.classes)), np.float32)
            yield tag, self._model.probabilities(crops) if len(crops) else empty


def open_models(
    config: Config, *, groups: Sequence[str], store: Store, triton: Triton | None, folder: Path
) -> list[AskedModel]:
    """Open the configured models, or those of every group that is deployed when none is configured.

    Args:
        config: By `models`, and by the classes of its `groups`.
        groups: Beside those of the configuration, these may be deployed.
        store: Has cards and files.
        triton: The server; None where every model is a file.
        folder: Gets the files.

    Raises:
        InputError: A model is missing, is not what its card says, or has other classes than its group; or there is
            none at all.
        ServiceError: The store or Triton failed.
    """
    wanted = dict(config.models) or _deployed({*config.groups, *groups}, triton)
    found: list[AskedModel] = []
    for number, (group, settings) in enumerate(sorted(wanted.items())):
        if settings.onnx:
            model: AskedModel = FileModel(group, settings, store=store, folder=folder / f"model-{number}")
        else:
            assert triton is not None, "whoever has no Triton names files"
            model = ServedModel(group, settings, store=store, triton=triton)
        expected = config.groups.get(group)
        if expected is not None and expected.classes != model.told.classes:
            raise InputError(
                f"the model of group {group!r} must have the group's classes, in the configuration"
                f" {expected.classes}, got {model.told.classes} of {model.where}; train it again, or correct the"
                " configuration"
            )
        found.append(model)
    return found


def needs_triton(config: Config) -> bool:
    """Tell whether one of the models is served, so that there must be a Triton."""
    return not config.models or any(not settings.onnx for settings in config.models.values())


def _deployed(groups: set[str], triton: Triton | None) -> dict[str, ModelConfig]:
    assert triton is not None, "without configured models Triton is asked"
    served = {group: ModelConfig() for group in groups if triton.versions(safe_key(group))}
    if not served:
        raise InputError(
            f"at least one group must be deployed, Triton at {triton.url} serves none of"
            f" {', '.join(map(repr, sorted(groups)))}; deploy one (`make run`), or name `models` in the configuration"
        )
    return served


def _gate(settings: ModelConfig, card: ModelCard, *, store: Store, folder: Path) -> Gate:
    """Say what the evaluation of a model file says; without one it is unjudged."""
    source = settings.evaluation or _beside(settings.onnx, evaluation.FILE_NAME)
    try:
        path = resolve_file(source, what="the evaluation", folder=folder, store=store)
    except InputError:
        if settings.evaluation:
            raise
        return "unjudged"
    judged = _read(Evaluation, path.read_bytes(), where=source)
    if judged.onnx_sha256 != card.onnx_sha256:
        raise InputError(
            f"an evaluation must be of the model it is beside, {source} is of {judged.onnx_sha256[:12]}, the model is"
            f" {card.onnx_sha256[:12]}; evaluate this model, or name its evaluation in the configuration"
        )
    return "passed" if judged.rules and judged.passed else "refused"


def _beside(source: str, name: str) -> str:
    folder, slash, _ = source.rpartition("/")
    return f"{folder}{slash}{name}"


def _read(kind: type[Card], data: bytes, *, where: str) -> Card:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where} must be a {kind.__name__}, {place}: {first['msg']}; export it again") from None
