"""The spool keeps what was appended, and nothing that was not."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.requestlog.spool import Segment, SpoolWriter, adopt, discard, segments, writers


def everything(spool: Path) -> list[dict[str, Any]]:
    return [record for segment in segments(spool) for record in segment.records()]


def test_records_come_back_in_order_over_segments(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path, segment_bytes=100) as writer:
        for number in range(20):
            writer.append({"number": number, "text": "é\n\x00"})
    assert [record["number"] for record in everything(tmp_path)] == list(range(20))
    assert len(segments(tmp_path)) > 3
    assert [s.sequence for s in segments(tmp_path)] == list(range(1, len(segments(tmp_path)) + 1))


def test_a_record_is_there_before_anything_is_closed(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    writer.append({"a": 1})
    assert everything(tmp_path) == [{"a": 1}]
    writer.close()


def test_rotating_an_empty_segment_makes_no_file(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path) as writer:
        writer.rotate()
        assert segments(tmp_path) == []
        writer.append({"a": 1})
        writer.rotate()
        writer.rotate()
        assert [s.sequence for s in segments(tmp_path)] == [1, 2]
    assert [s.sequence for s in segments(tmp_path)] == [1]


@given(cut=st.integers(min_value=1, max_value=200))
def test_a_torn_tail_is_dropped_and_the_rest_kept(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    spool = tmp_path_factory.mktemp("spool")
    with SpoolWriter(spool) as writer:
        for number in range(3):
            writer.append({"number": number, "padding": "x" * 40})
    path = segments(spool)[0].path
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    kept = sum(len(b"".join(lines[: n + 1])) <= len(whole) - cut for n in range(3))
    assert [record["number"] for record in everything(spool)] == list(range(kept))


@given(place=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_a_flipped_bit_loses_only_its_record(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    spool = tmp_path_factory.mktemp("spool")
    with SpoolWriter(spool) as writer:
        for number in range(4):
            writer.append({"number": number})
    path = segments(spool)[0].path
    damaged = bytearray(path.read_bytes())
    damaged[place % len(damaged)] ^= 1 << bit
    path.write_bytes(damaged)
    numbers = [record["number"] for record in everything(spool)]
    # A damaged line end also takes the line after it along.
    assert len(numbers) >= 2
    assert set(numbers) < set(range(4))


def test_a_full_disk_leaves_no_part_of_a_record(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from headrace.requestlog.spool import SpoolWriter

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = SpoolWriter(Path(sys.argv[1]))
writer.append({"number": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    writer.append({"number": 2, "text": "x" * 200})
except OSError:
    print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append({"number": 3})
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "refused\n", done.stderr
    assert [record["number"] for record in everything(tmp_path)] == [1, 3]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_threads_do_not_mix_their_records(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path, segment_bytes=5_000) as writer:

        def work(thread: int) -> None:
            for number in range(200):
                writer.append({"thread": thread, "number": number, "text": "x" * (number % 50)})

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            writer.rotate()
        for thread in threads:
            thread.join()
    found = everything(tmp_path)
    assert len(found) == 1600
    for thread_number in range(8):
        ordered = [r["number"] for r in found if r["thread"] == thread_number]
        assert ordered == list(range(200))


def test_a_full_segment_is_finished_once_it_is_forced_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[str] = []

    def fsync(descriptor: int) -> None:
        forced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", fsync)
    with SpoolWriter(tmp_path, segment_bytes=1) as writer:
        for number in range(3):
            writer.append({"number": number})
        assert [s.finished for s in segments(tmp_path)] == [False] * 4
        writer.rotate()
        assert forced == ["00000001.log", "00000002.log", "00000003.log"]
        assert [s.finished for s in segments(tmp_path)] == [True, True, True, False]
        writer.append({"number": 3})
    assert all(s.finished for s in segments(tmp_path))


def test_a_segment_is_finished_once_its_writer_has_left_it(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path) as writer:
        writer.append({"a": 1})
        assert [s.finished for s in segments(tmp_path)] == [False]
        writer.rotate()
        assert [s.finished for s in segments(tmp_path)] == [True, False]
        writer.append({"a": 2})
    assert [s.finished for s in segments(tmp_path)] == [True, True]


def test_a_segment_stays_in_use_when_the_next_cannot_be_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SpoolWriter(tmp_path, segment_bytes=10) as writer:
        in_the_way = writer.directory / "00000002.new"
        in_the_way.mkdir()
        writer.append({"number": 1})
        writer.append({"number": 2})
        assert "a segment was not finished" in caplog.text
        in_the_way.rmdir()
        writer.append({"number": 3})
        assert [s.sequence for s in segments(tmp_path)] == [1, 2]
    assert [record["number"] for record in everything(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("text", ["\ud800", 10**30, float("inf")])
def test_whatever_python_holds_can_be_kept(tmp_path: Path, text: Any) -> None:
    with SpoolWriter(tmp_path) as writer:
        writer.append({"text": text})
        writer.append({"text": "after"})
    assert everything(tmp_path)[1] == {"text": "after"}


def test_a_directory_is_adopted_only_after_its_writer(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    writer.append({"a": 1})
    assert adopt(writer.directory) is None
    writer.close()
    with pytest.raises(OSError, match="closed"):
        writer.append({"a": 2})
    lock = adopt(writer.directory)
    assert lock is not None
    segments(tmp_path)[0].path.unlink()
    discard(writer.directory)
    os.close(lock)
    assert writers(tmp_path) == []


def test_a_killed_writer_leaves_its_records_and_no_lock(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from headrace.requestlog.spool import SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]))
for number in range(5):
    writer.append({"number": number})
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60)
    assert done.returncode == -9
    assert [record["number"] for record in everything(tmp_path)] == list(range(5))
    lock = adopt(writers(tmp_path)[0])
    assert lock is not None
    os.close(lock)


def test_other_files_are_no_segments(tmp_path: Path) -> None:
    (tmp_path / "spool_x").mkdir()
    (tmp_path / "spool_x" / "notes.log").touch()
    (tmp_path / "spool_x" / "00000003.log").touch()
    assert segments(tmp_path) == [Segment(tmp_path / "spool_x" / "00000003.log", "spool_x", 3)]
