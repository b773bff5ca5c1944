"""Progress shows a bar on a terminal and a line now and then elsewhere; the items pass through untouched."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from silhouette.progress import track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=["terminal", "pipe"])
def stream(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = Terminal() if request.param == "terminal" else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    return stream


@pytest.mark.parametrize("count", [0, 1, 7])
def test_every_item_passes_in_order(stream: io.StringIO, count: int) -> None:
    assert list(track(range(count), total=count, description="counting")) == list(range(count))


def test_items_are_taken_one_at_a_time(stream: io.StringIO) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    tracked = track(source(), total=3, description="counting")
    assert next(iter(tracked)) == 0
    assert taken == [0]


def test_error_of_the_source_comes_through(stream: io.StringIO) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(track(source(), total=2, description="counting"))


def test_terminal_shows_description_and_count(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    list(track(range(3), total=3, description="downloading"))
    assert "downloading" in stream.getvalue()
    assert "3/3" in stream.getvalue()


class TestLines:
    @pytest.fixture(autouse=True)
    def _clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        ticks = iter(range(0, 10_000, 4))
        monkeypatch.setattr("silhouette.progress.time.monotonic", lambda: float(next(ticks)))

    def test_are_logged_now_and_then_with_rate_and_time_left(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, logger="silhouette.progress"):
            list(track(range(6), total=6, description="downloading"))
        assert caplog.messages == [
            "downloading: 3 of 6, 0.2/s, about 12 s left",
            "downloading: 6 of 6, 0.2/s, about 0 s left",
        ]


def test_short_loop_logs_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO, logger="silhouette.progress"):
        list(track(range(100), total=100, description="downloading"))
    assert caplog.messages == []
