"""A training on several devices of one machine: a process each, which this one starts, watches and ends.

Every process runs `fitting.fit` over its share of each batch; Lightning's DDP brings the gradients together. They are
fresh interpreters rather than copies of this one: what runs here may be the command line, a component of KFP or a
test, and starting that again would start its work again. They meet in a file and speak over loopback only. A process
ends when this one does, whatever ends it: nothing is left behind that holds a device.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from silhouette.errors import SilhouetteError
from silhouette.step import configure_logging
from silhouette.store import Store

if TYPE_CHECKING:
    from silhouette.train_classifier.fitting import Job, TrainReport

_PATIENCE = timedelta(minutes=30)  # of the others while one writes to the store
_POLL_S = 0.2
_LAST_WORDS_S = 3.0  # when one fails, the others fail of it; all of them are heard before one is believed


def fit_on(devices: int, job: Job, *, store: Store | None) -> TrainReport:
    """Train on several devices.

    Args:
        devices: How many.
        job: What to train; `weights` and an unfinished training are in their files already.
        store: Where crops and checkpoints survive this machine, or None.

    Raises:
        SilhouetteError: As `fitting.fit`, or a process was ended from outside.
    """
    with tempfile.TemporaryDirectory() as scratch:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(devices):
                processes.append(_start(rank))
                told = (dataclasses.replace(job, rank=rank), store and (store.settings, store.patience_s), scratch)
                pipe = cast("IO[bytes]", processes[-1].stdin)
                with suppress(BrokenPipeError):  # it has ended already, which is seen below
                    pipe.write(pickle.dumps(told))  # not on the command line: the store's keys are in it
                    pipe.flush()
            while any(process.poll() is None for process in processes):
                if any(process.poll() for process in processes):
                    _hear_the_others(processes)
                    break
                time.sleep(_POLL_S)
            codes = [process.poll() for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
                with suppress(BrokenPipeError):
                    cast("IO[bytes]", process.stdin).close()
        return _answer(Path(scratch), codes)


def _start(rank: int) -> subprocess.Popen[bytes]:
    loopback = {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [sys.executable, "-m", __name__], env=os.environ | loopback, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _hear_the_others(processes: list[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + _LAST_WORDS_S
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(_POLL_S)


def _answer(scratch: Path, codes: list[int | None]) -> TrainReport:
    """Return the first process's report, or raise what is the cause of the end rather than its consequence.

    Args:
        scratch: Has the answers.
        codes: With which the processes ended by themselves; None: one waited for the others.
    """
    answers = [
        pickle.loads(file.read_bytes()) if (file := scratch / str(rank)).is_file() else None  # noqa: S301 - our own
        for rank in range(len(codes))
    ]
    for rank, (code, answer) in enumerate(zip(codes, answers, strict=True)):
        if answer is None and code is not None:
            raise SilhouetteError(
                f"a training on {len(codes)} devices needs the processes of all of them to its end, that of device"
                f" {rank} was ended ({f'signal {-code}' if code < 0 else f'exit code {code}'}); give it more memory (in"
                " a pod also /dev/shm), or lower training.batch_size or training.devices, then run again: it goes on"
                " from its last checkpoint"
            )
    for answer in answers:
        if isinstance(answer, SilhouetteError):
            raise answer
    if failed := [f"the process of device {rank} failed:\n{answer}" for rank, answer in enumerate(answers)
                  if isinstance(answer, str)]:  # fmt: skip
        raise RuntimeError("\n".join(failed))
    return cast("TrainReport", answers[0])


def gathered(value: Any) -> list[Any]:
    """Return this value of every process, in their order; of this one alone where there are no others."""
    from torch import distributed

    if not distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def main() -> None:
    """Do what the process that started this one says on standard input, and leave the answer in a file."""
    job, place, scratch = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    configure_logging()
    if job.rank:
        logging.getLogger("silhouette").setLevel(logging.ERROR)  # the first one has said it
    answer: TrainReport | SilhouetteError | str
    try:
        answer = _fit(job, Store(place[0], patience_s=place[1]) if place and job.rank == 0 else None, Path(scratch))
    except SilhouetteError as error:
        answer = error
    except Exception:  # noqa: BLE001 - whatever it is, the process that started this one tells it
        answer = traceback.format_exc()
    partial = Path(scratch) / f"{job.rank}.partial"
    partial.write_bytes(pickle.dumps(answer))
    partial.rename(Path(scratch) / str(job.rank))
    os._exit(1 if isinstance(answer, SilhouetteError | str) else 0)  # others may be gone: nobody is waited for


def _fit(job: Job, store: Store | None, scratch: Path) -> TrainReport:
    from silhouette.train_classifier.train import quiet_lightning

    with quiet_lightning():
        import torch
        from torch import distributed

        from silhouette.train_classifier.fitting import fit

        if job.device == "cuda":
            torch.cuda.set_device(job.rank)
        distributed.init_process_group(
            "nccl" if job.device == "cuda" else "gloo", init_method=f"file://{scratch / 'meeting'}", rank=job.rank,
            world_size=int(job.config.devices), timeout=_PATIENCE,
        )  # fmt: skip
        report = fit(job, store=store)
        distributed.barrier()  # before one leaves: its sockets are what the others speak through
        distributed.destroy_process_group()
        return report


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
