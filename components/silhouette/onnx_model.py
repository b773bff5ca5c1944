"""A released model file, answered by ONNX Runtime on the CPU: how the exporter and the judge look at it.

Reads `model.onnx` of a bundle (`silhouette.contracts.model_bundle`). The CPU is meant: the judge's numbers must
not depend on the machine it sits on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silhouette.contracts import model_bundle
from silhouette.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BATCH = 32
_WARNINGS_OFF = 3  # ONNX Runtime's severity: errors and worse


class OnnxModel:
    """`model.onnx`, ready to answer.

    Args:
        path: Of the file.

    Raises:
        InputError: The file is missing or is no model that ONNX Runtime can run.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        options: Any = ort.SessionOptions()
        options.log_severity_level = _WARNINGS_OFF
        options.intra_op_num_threads = min(4, os.cpu_count() or 1)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            raise InputError(
                f"{path} must be an ONNX model that ONNX Runtime can run ({' '.join(str(error).split())[:300]});"
                " export it again"
            ) from error
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def probabilities(self, crops: npt.NDArray[np.uint8], *, batch: int = _BATCH) -> npt.NDArray[np.float32]:
        """Answer uint8 crops [n, size, size, 3] with float32 [n, classes], `batch` at a time."""
        import numpy as np

        parts = [
            self._session.run([model_bundle.OUTPUT_NAME], {model_bundle.INPUT_NAME: crops[start : start + batch]})[0]
            for start in range(0, len(crops), batch)
        ]
        return np.concatenate(parts).astype(np.float32, copy=False)
