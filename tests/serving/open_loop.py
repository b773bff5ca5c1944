"""Requests on a fixed schedule, whether those before were answered or not, from a process of its own.

`offering` starts the process and yields the answers' list, which it fills at the end. A request's latency counts from
the moment that it was planned for: one that had to wait because all senders were busy is late, not left out ("How NOT
to Measure Latency", G. Tene: coordinated omission). Times are `time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlparse

SENDERS = 32
_ANSWER_S, _MOST_S = 60.0, 300.0


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What is asked: the body of a request whose answer is JSON, so many times a second."""

    url: str
    model: str
    body_path: str
    header_length: int
    per_s: float


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One request: when it was planned, how long after that its answer was there, and its version, or why it failed."""

    planned: float
    latency_s: float
    version: str
    error: str


@contextmanager
def offering(offer: Offer) -> Iterator[list[Answered]]:
    """Offer requests for as long as the block lasts; the list that it gets is full when the block has ended."""
    answers: list[Answered] = []
    command = [sys.executable, "-m", "tests.serving.open_loop", json.dumps(asdict(offer))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "asking\n":
            raise RuntimeError("the first request must be answered, it was not")
        yield answers
        told, _ = process.communicate("")  # its standard input ends, and with it the schedule
        answers.extend(Answered(**entry) for entry in json.loads(told))
    finally:
        process.kill()
        process.wait()


def percentile_s(answers: Sequence[Answered], share: float) -> float:
    """Return the latency that `share` of the answers did not exceed, seconds: the nearest rank."""
    ordered = sorted(answer.latency_s for answer in answers)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _ask(connection: http.client.HTTPConnection, offer: Offer, body: bytes) -> tuple[str, str]:
    """Return the version that answered, and what was wrong."""
    headers = {
        "Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(offer.header_length),
    }  # fmt: skip
    try:
        connection.request("POST", f"/v2/models/{offer.model}/infer", body=body, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return "", f"{type(error).__name__}: {error}"
    if answer.status != 200:
        return "", f"{answer.status} {text[:300]!r}"
    return str(json.loads(text)["model_version"]), ""


def main(offer: Offer) -> None:
    """Be the process that asks, until standard input ends."""
    body, address = Path(offer.body_path).read_bytes(), urlparse(offer.url)
    ended, lock, numbers = threading.Event(), threading.Lock(), itertools.count()
    answers: list[Answered] = []
    first = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_ANSWER_S)
    version, error = _ask(first, offer, body)
    first.close()
    if not version:
        sys.exit(error)
    print("asking", flush=True)
    start = time.monotonic() + 0.1

    def send() -> None:
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_ANSWER_S)
        while True:
            with lock:
                planned = start + next(numbers) / offer.per_s
            if ended.wait(max(0.0, planned - time.monotonic())) or planned > start + _MOST_S:
                break
            version, error = _ask(connection, offer, body)
            answers.append(
                Answered(planned=planned, latency_s=time.monotonic() - planned, version=version, error=error)
            )
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    with suppress(KeyboardInterrupt):
        sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    json.dump([asdict(answer) for answer in sorted(answers, key=lambda one: one.planned)], sys.stdout)


if __name__ == "__main__":
    main(Offer(**json.loads(sys.argv[1])))
