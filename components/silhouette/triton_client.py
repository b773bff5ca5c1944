"""The only door to Triton: HTTP with binary tensors, bounded waiting, and messages that tell the way out.

Reads the address from the environment (`silhouette.settings`). Writes nothing but the state of Triton itself
(`load`, `unload`).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import stamina

from silhouette import picture_answer
from silhouette.contracts.model_bundle import INPUT_NAME, OUTPUT_NAME
from silhouette.errors import InputError, PictureError, ServiceError, SettingError
from silhouette.settings import triton_url

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FINGERPRINT = "silhouette_fingerprint"  # parameter of a model's configuration: tells which one is loaded
_CONNECT_S, _ANSWER_S, _LOAD_S = 5.0, 60.0, 300.0
_ATTEMPTS = 4
_WAY_OUT = "start it (on a laptop: `make up`) or correct SILHOUETTE_TRITON_URL, then run again"

_REFUSED_PICTURE = re.compile(r"(?P<reason>empty|unsupported|animated|too_large|truncated|corrupt): (?P<detail>.*)")

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class VersionState:
    """One version of a model as Triton sees it: `state` is ``READY``, ``UNAVAILABLE``, ...; `reason` says why not."""

    model: str
    version: str
    state: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ServedConfig:
    """What a served model takes and gives: crops uint8 [n, crop_size, crop_size, 3] to float32 [n, classes]."""

    crop_size: int
    classes: int
    max_batch_size: int
    fingerprint: str
    """Of the configuration that was loaded, when its writer gave it one (parameter `FINGERPRINT`), else empty."""


class RequestFile(NamedTuple):
    """The body of an inference request, and the length of the JSON at its beginning."""

    body: bytes
    header_length: int


def request_file(crops: npt.NDArray[np.uint8]) -> RequestFile:
    """Write the request that Triton answers in JSON with the most probable class of every crop, by name.

    Protocol: https://github.com/triton-inference-server/server, docs/protocol: binary data and classification.

    Args:
        crops: uint8 [n, size, size, 3], RGB.
    """
    from tritonclient.http import InferenceServerClient, InferRequestedOutput

    answer = InferRequestedOutput(OUTPUT_NAME, binary_data=False, class_count=1)
    body, header_length = InferenceServerClient.generate_request_body([_tensor(crops)], outputs=[answer])
    return RequestFile(bytes(body), int(header_length))


def _tensor(crops: npt.NDArray[np.uint8]) -> Any:
    from tritonclient.http import InferInput

    if crops.dtype != "uint8" or crops.ndim != 4 or crops.shape[3] != 3:
        raise InputError(f"crops must be uint8 [n, size, size, 3], got {crops.dtype} {list(crops.shape)}")
    tensor = InferInput(INPUT_NAME, list(crops.shape), "UINT8")
    tensor.set_data_from_numpy(crops)
    return tensor


class Triton:
    """A Triton server; safe to share between threads (each gets a connection of its own).

    Every method raises ServiceError when Triton cannot be reached or refuses, and InputError when it does not know
    the model. What changes nothing is tried again a bounded number of times when the connection breaks.
    """

    def __init__(self, url: str, *, timeout_s: float = _ANSWER_S) -> None:
        scheme, _, self._address = url.rstrip("/").partition("://")
        if scheme not in ("http", "https") or not self._address:
            raise SettingError(f"SILHOUETTE_TRITON_URL must be http://host:port, got {url!r}; correct it")
        self.url = f"{scheme}://{self._address}"
        self._timeout_s = timeout_s
        self._local = threading.local()

    def __enter__(self) -> Triton:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close this thread's connections; an open one delays the server's end."""
        from gevent import get_hub  # type: ignore[import-untyped]

        for client in self._local.__dict__.values():
            client.close()
        self._local.__dict__.clear()
        if threading.current_thread() is not threading.main_thread():
            get_hub().destroy(destroy_loop=True)  # else each thread that ever asked leaves three open files

    # ---- what is there

    def is_ready(self) -> bool:
        """Tell whether the server calls itself ready; whether a model answers only `wait_ready` proves."""
        try:
            return self._ask("say whether it is ready", lambda client: bool(client.is_server_ready()), attempts=1)
        except ServiceError:
            return False

    def index(self, model: str | None = None) -> list[VersionState]:
        """Return every version that Triton knows, of one model or of all."""
        rows = self._ask("list its models", lambda client: client.get_model_repository_index())
        found = [
            VersionState(
                model=row["name"],
                version=row.get("version", ""),
                state=row.get("state", ""),
                reason=_first_line(row.get("reason", "")),
            )
            for row in rows
        ]
        return [item for item in found if model in (None, item.model)]

    def versions(self, model: str) -> list[str]:
        """Return the versions of `model` that are ready, the oldest first; none for an unknown model.

        Asks for the model itself: `index` no longer lists what is served and has left the repository.
        """
        try:
            found = self._ask("list versions", lambda client: client.get_model_metadata(model), model)
        except InputError:
            return []
        return sorted((str(version) for version in found["versions"]), key=int)

    def fingerprint(self, model: str) -> str:
        """Return the fingerprint of the configuration that was loaded, of any kind of model; empty: it has none.

        Raises:
            InputError: No such model is served.
        """
        return _fingerprint(
            self._ask("describe its configuration", lambda client: client.get_model_config(model), model)
        )

    def config(self, model: str, *, version: str = "") -> ServedConfig:
        """Return what a served model takes and gives."""
        found = self._ask("describe its configuration", lambda client: client.get_model_config(model, version), model)
        return ServedConfig(
            crop_size=int(found["input"][0]["dims"][0]),
            classes=int(found["output"][0]["dims"][-1]),
            max_batch_size=int(found["max_batch_size"]),
            fingerprint=_fingerprint(found),
        )

    # ---- what is served

    def load(self, model: str, *, config_json: str | None = None, files: Mapping[str, bytes] | None = None) -> None:
        """Load a model as its configuration in the repository says now; return when its versions are ready.

        A load that fails leaves the versions that were served before.

        Args:
            model: Triton's name of it.
            config_json: Take this configuration (JSON of Triton's ModelConfig) instead of the repository's.
            files: With `config_json`: contents by ``<version>/<file>``, instead of the repository's.

        Raises:
            ServiceError: With the reason that Triton gives.
        """
        content = {f"file:{name}": data for name, data in (files or {}).items()} or None
        self._ask(
            f"load {model}",
            lambda client: client.load_model(model, config=config_json, files=content),
            attempts=1,
            timeout_s=_LOAD_S,
        )

    def unload(self, model: str, *, wait: bool = True) -> None:
        """Stop serving a model; return when it is gone.

        Args:
            model: Triton's name of it.
            wait: False: return at once. One whose process died never goes for good, and a load takes its place.
        """
        self._ask(f"unload {model}", lambda client: client.unload_model(model), attempts=1, timeout_s=_LOAD_S)
        if not wait:
            return
        deadline = time.monotonic() + _ANSWER_S
        while any(item.reason != "unloaded" for item in self.index(model) if item.state not in ("UNAVAILABLE", "")):
            if time.monotonic() > deadline:
                raise ServiceError(f"Triton at {self.url} must unload {model} within {_ANSWER_S:.0f} s; see its log")
            time.sleep(0.05)

    def wait_ready(self, model: str, *, version: str = "", timeout_s: float = _ANSWER_S) -> None:
        """Return when `model` has answered an inference: its flag stays ready when its process has died.

        Raises:
            ServiceError: It did not within `timeout_s`; the message has Triton's reason.
        """
        import numpy as np

        deadline = time.monotonic() + timeout_s
        while True:
            try:
                side = self.config(model, version=version).crop_size
                self.infer(model, np.full((1, side, side, 3), 127, np.uint8), version=version)
            except (ServiceError, InputError) as error:
                if time.monotonic() > deadline:
                    raise ServiceError(f"{model} must answer within {timeout_s:.0f} s: {error}") from None
                time.sleep(0.2)
            else:
                return

    def infer(self, model: str, crops: npt.NDArray[np.uint8], *, version: str = "") -> npt.NDArray[np.float32]:
        """Classify crops.

        Args:
            model: Triton's name of it.
            crops: uint8 [n, size, size, 3], RGB; n at most the model's `max_batch_size`.
            version: Which one; empty: the latest that is served.

        Returns:
            Probabilities, float32 [n, classes].
        """
        tensor = _tensor(crops)
        result = self._ask("classify crops", lambda client: client.infer(model, [tensor], model_version=version), model)
        answer: npt.NDArray[np.float32] | None = result.as_numpy(OUTPUT_NAME)
        if answer is None or len(answer) != len(crops):
            raise ServiceError(
                f"Triton at {self.url} must answer {len(crops)} crops with as many rows, {model} gave"
                f" {0 if answer is None else len(answer)}; see its log, then deploy the model again"
            )
        return answer

    def infer_many(
        self, model: str, batches: Iterable[tuple[A, npt.NDArray[np.uint8]]], *, version: str = "", in_flight: int = 3
    ) -> Iterator[tuple[A, npt.NDArray[np.float32]]]:
        """Classify batches, several at the same time; yield (what came with the batch, probabilities) in order.

        `batches` is read only a little ahead: at most 2 x `in_flight` batches wait in memory. A batch without crops
        comes back as it is, unasked.
        """
        import numpy as np

        def ask(item: tuple[A, npt.NDArray[np.uint8]]) -> tuple[A, npt.NDArray[np.float32]]:
            tag, crops = item
            return tag, self.infer(model, crops, version=version) if len(crops) else np.zeros((0, 0), np.float32)

        everyone = threading.Barrier(in_flight)
        pending: deque[Future[tuple[A, npt.NDArray[np.float32]]]] = deque()
        with ThreadPoolExecutor(in_flight) as pool:
            try:
                for item in batches:
                    pending.append(pool.submit(ask, item))
                    if len(pending) >= 2 * in_flight:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()
                for _ in range(in_flight):
                    pool.submit(self._close_with, everyone)

    def class_name(self, model: str, crop: npt.NDArray[np.uint8], *, version: str = "") -> str:
        """Return the class that Triton itself names for one crop, uint8 [size, size, 3]."""
        from tritonclient.http import InferRequestedOutput

        tensor, answer = _tensor(crop[None]), InferRequestedOutput(OUTPUT_NAME, binary_data=False, class_count=1)
        result = self._ask(
            "name a class", lambda client: client.infer(model, [tensor], outputs=[answer], model_version=version), model
        )
        return str(result.get_output(OUTPUT_NAME)["data"][0]).split(":", 2)[2]

    def answer_picture(self, model: str, data: bytes, *, version: str = "") -> dict[str, Any]:
        """Send a picture's bytes to a picture model; return its answer (docs/serving.md).

        Raises:
            PictureError: The server cannot open the picture, with the reason that it gives.
        """
        import numpy as np
        from tritonclient.http import InferInput

        tensor = InferInput(picture_answer.INPUT_NAME, [1], "BYTES")
        tensor.set_data_from_numpy(np.array([data], dtype=np.object_))
        result = self._ask(
            "answer a picture", lambda client: client.infer(model, [tensor], model_version=version), model
        )
        answer: dict[str, Any] = json.loads(result.as_numpy(picture_answer.OUTPUT_NAME)[0])
        return answer

    # ---- inside

    def _close_with(self, everyone: threading.Barrier) -> None:
        """Close this thread's connections, after the barrier has seen to it that every thread does so once."""
        everyone.wait()
        self.close()

    def _client(self, timeout_s: float) -> Any:
        """Return this thread's client: tritonclient's are not safe to share."""
        name = f"{timeout_s}"
        if name not in self._local.__dict__:
            from tritonclient.http import InferenceServerClient

            self._local.__dict__[name] = InferenceServerClient(
                self._address,
                ssl=self.url.startswith("https"),  # certificates are checked
                connection_timeout=_CONNECT_S,
                network_timeout=timeout_s,
            )
        return self._local.__dict__[name]

    def _ask(
        self,
        what: str,
        call: Callable[[Any], T],
        model: str = "",
        *,
        attempts: int = _ATTEMPTS,
        timeout_s: float | None = None,
    ) -> T:
        from geventhttpclient.response import HTTPParseError
        from tritonclient.utils import InferenceServerException

        try:
            for attempt in stamina.retry_context(
                on=_is_broken_connection, attempts=attempts, wait_initial=0.2, wait_jitter=0.2
            ):
                with attempt:
                    return call(self._client(timeout_s or self._timeout_s))
        except InferenceServerException as error:
            raise self._refusal(error, what, model) from None
        except (OSError, HTTPParseError) as error:
            raise ServiceError(
                f"Triton at {self.url} must answer, it did not when asked to {what}"
                f" ({error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__});"
                f" {_WAY_OUT}"
            ) from error
        raise AssertionError("retry_context returns or raises")

    def _refusal(self, error: Any, what: str, model: str) -> ServiceError | InputError:
        reason = _first_line(error.message())
        if refused := _REFUSED_PICTURE.match(reason):
            return PictureError(refused["reason"], refused["detail"])
        if model and ("unknown model" in reason or "no available versions" in reason or "not found" in reason):
            served = sorted({item.model for item in self.index() if item.state == "READY"})
            return InputError(
                f"the model must be served, Triton at {self.url} does not have {model!r} ({reason}; it serves:"
                f" {', '.join(served) or 'nothing'}); deploy it first (`make run`)"
            )
        return ServiceError(
            f"Triton at {self.url} refused to {what}: {reason}; its log says more (on a laptop in the state"
            " folder's logs/)"
        )


def _fingerprint(config: Mapping[str, Any]) -> str:
    return str(config.get("parameters", {}).get(FINGERPRINT, {}).get("string_value", ""))


def _first_line(reason: str) -> str:
    """Return a reason of Triton's without the Python traceback that may follow it."""
    return " ".join(reason.partition("\n\nAt:")[0].split())


def _is_broken_connection(error: Exception) -> bool:
    """Tell a connection that was refused or cut from an answer that did not come in time."""
    from geventhttpclient.response import HTTPParseError

    return isinstance(error, (OSError, HTTPParseError)) and not isinstance(error, TimeoutError)


def open_triton(url: str | None = None) -> Triton:
    """Open Triton; nothing is asked of the server yet.

    Args:
        url: ``http://host:port``; None: what the environment says.

    Raises:
        SettingError: The environment does not say where it is, or not as a URL.
    """
    return Triton(url or triton_url())
