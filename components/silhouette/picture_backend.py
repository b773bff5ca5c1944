"""A picture model inside Triton: what its Python backend runs to turn a picture's bytes into the answer as JSON.

Reads `settings.json` of its version folder, which `deploy_model` writes beside this code; asks the segmenter and the
classifier of the same server (business logic scripting). A picture that cannot be opened is answered with status 400
and the reason, a part that does not answer with 503. Runs in Triton's Python, under its stub.

https://github.com/triton-inference-server/python_backend, README: usage, business logic scripting, error handling.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from silhouette.detection import Pixels
from silhouette.detector_onnx import OnnxDetector
from silhouette.errors import PictureError
from silhouette.picture_answer import (
    INPUT_NAME,
    OUTPUT_NAME,
    SETTINGS_NAME,
    Part,
    PictureSettings,
    answer_picture,
    standby_name,
)

# the stub of 2.51 was built against numpy 1: under 2 its Tensor(name, array) sends no numbers; DLPack goes round that
_NUMPY_2 = int(np.__version__.split(".")[0]) >= 2


class PartError(Exception):
    """The segmenter or the classifier did not answer."""


def ask(part: Part, name: str, array: Any, outputs: Sequence[str]) -> list[Any]:
    """Ask another model of this server.

    Raises:
        PartError: It does not answer.
    """
    array = np.ascontiguousarray(array)
    tensor = pb_utils.Tensor.from_dlpack(name, array) if _NUMPY_2 else pb_utils.Tensor(name, array)
    request = pb_utils.InferenceRequest(
        model_name=part.model, model_version=int(part.version), inputs=[tensor], requested_output_names=list(outputs)
    )
    response = request.exec()
    if response.has_error():
        raise PartError(f"{part.model} version {part.version} must answer: {response.error().message()}; ask again")
    found = [pb_utils.get_output_tensor_by_name(response, output) for output in outputs]
    return [np.from_dlpack(item) if _NUMPY_2 else item.as_numpy() for item in found]


class ServedSession:
    """The segmenter of this server, as `silhouette.detector_onnx.Session` wants it."""

    def __init__(self, settings: PictureSettings) -> None:
        self._settings = settings

    def get_inputs(self) -> list[Any]:
        """Return name, type and shape of its inputs."""
        return [SimpleNamespace(name=item[0], type=item[1], shape=item[2]) for item in self._settings.segmenter_inputs]

    def get_outputs(self) -> list[Any]:
        """Return name, type and shape of its outputs."""
        return [SimpleNamespace(name=item[0], type=item[1], shape=item[2]) for item in self._settings.segmenter_outputs]

    def get_modelmeta(self) -> Any:
        """Return the metadata of its file."""
        return SimpleNamespace(custom_metadata_map=self._settings.segmenter_metadata)

    def run(self, output_names: Sequence[str], feeds: dict[str, Any]) -> list[Any]:
        """Answer with the outputs, in the order asked for."""
        ((name, array),) = feeds.items()
        return ask(self._settings.segmenter, name, array, output_names)


class TritonPythonModel:
    """One instance of one version; the methods and their names are the Python backend's."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the settings; the other models are asked for the first time by the first picture."""
        import cv2

        cv2.setNumThreads(1)  # pictures go through side by side
        self.model, self.version = args["model_name"], args["model_version"]
        folder = Path(args["model_repository"]) / self.version
        self.settings = settings = PictureSettings.from_json((folder / SETTINGS_NAME).read_bytes())
        self.detector = OnnxDetector(
            Path(settings.segmenter.model),
            model_digest=settings.segmenter_digest,
            person_class=settings.person_class,
            image_size=settings.image_size,
            min_score=settings.min_score,
            session=ServedSession(settings),
        )

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests, each with one picture."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        given = pb_utils.get_input_tensor_by_name(request, INPUT_NAME).as_numpy().reshape(-1)
        try:
            answer = answer_picture(
                bytes(given[0]), self.settings, find=self._find, classify=self._classify,
                model=self.model, version=self.version,
            )  # fmt: skip
        except PictureError as error:
            return _refusal(str(error), pb_utils.TritonError.INVALID_ARG)
        except PartError as error:
            return _refusal(str(error), pb_utils.TritonError.UNAVAILABLE)
        text = json.dumps(answer, ensure_ascii=False).encode()
        return pb_utils.InferenceResponse([pb_utils.Tensor(OUTPUT_NAME, np.array([text], dtype=np.object_))])

    def _find(self, pixels: Pixels) -> list[Any]:
        return self.detector.detect([pixels])[0]

    def _classify(self, crops: Pixels) -> Any:
        known, part = self.settings, self.settings.classifier
        try:
            return ask(part, known.classifier_input, crops, [known.classifier_output])[0]
        except PartError:
            standby = replace(part, model=standby_name(part), version="1")
            with suppress(PartError):  # there is one during a switch only: the first reason is the one to tell
                return ask(standby, known.classifier_input, crops, [known.classifier_output])[0]
            raise


def _refusal(message: str, code: Any) -> Any:
    return pb_utils.InferenceResponse([], error=pb_utils.TritonError(message, code))
