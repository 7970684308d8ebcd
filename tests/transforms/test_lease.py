from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.memory_filesystem import MemoryFileSystem
from transforms import lease as lease_module
from transforms import storage
from transforms.lease import LEASE_FILE, Holder, Lease, LeaseLost, LibraryInUse
from transforms.lease_file import LocalLeaseFile

URL = "testmem://bucket/library"
ROOT = Path(lease_module.__file__).parents[1]
FORGETFUL_RUN = "import sys, transforms.lease; transforms.lease.Lease(sys.argv[1]).__enter__();"
ELSEWHERE = replace(Holder.new(), host="nas-client", boot="another", pid=4321)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("transforms.lease_file.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(lease_module, "_READ_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(lease_module, "_ATTEMPT_PAUSE", 0.01)
    MemoryFileSystem.clear()
    yield
    MemoryFileSystem.clear()


@pytest.fixture(params=["local", "url"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return URL if request.param == "url" else str(tmp_path / "library")


def place(library: str, content: bytes | Holder, *, age: float = 0.0) -> None:
    """Puts a lease file of that age into a library."""
    content = content.to_json() if isinstance(content, Holder) else content
    if storage.is_url(library):
        MemoryFileSystem.put(f"{library}/{LEASE_FILE}", content, modified=time.time() - age)
        return
    path = Path(library) / LEASE_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age, time.time() - age))


def holder_of(library: str) -> Holder | None:
    try:
        return Holder.from_json(storage.read_bytes(storage.join(library, LEASE_FILE)))
    except FileNotFoundError:
        return None


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that a thread is about to do; the test fails when it never does."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def lost(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return True
    return False


# -- one holder --------------------------------------------------------------------------------------


def test_a_lease_names_its_holder_and_goes_with_the_run(library: str) -> None:
    with Lease(library) as lease:
        lease.check()
        holder = holder_of(library)
        assert holder is not None
        assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
    assert holder_of(library) is None
    with pytest.raises(LeaseLost, match="given back"):
        lease.check()


def test_nothing_else_is_left_in_the_library(tmp_path: Path) -> None:
    place(str(tmp_path), ELSEWHERE, age=500)
    with Lease(str(tmp_path)):
        assert os.listdir(tmp_path) == [LEASE_FILE]
    assert os.listdir(tmp_path) == []


def test_a_second_run_is_told_who_holds_the_library_and_what_to_do(library: str) -> None:
    with Lease(library) as lease:
        with pytest.raises(LibraryInUse) as error, Lease(library):
            pass
        lease.check()
    for part in (library, str(os.getpid()), socket.gethostname(), "wait", "120 s", LEASE_FILE):
        assert part in str(error.value)


def test_a_lease_is_given_back_when_the_run_fails(library: str) -> None:
    with pytest.raises(ZeroDivisionError), Lease(library):
        raise ZeroDivisionError
    assert holder_of(library) is None


def test_a_run_may_wait_for_the_library(library: str) -> None:
    first = Lease(library)
    first.__enter__()
    timer = threading.Timer(0.1, first.__exit__, (None, None, None))
    timer.start()
    with Lease(library, interval=0.02, wait=60.0) as second:
        second.check()
    timer.join()


def test_a_library_that_cant_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), Lease(str(tmp_path / "file")):
        pass


def test_a_disk_that_fills_while_the_lease_is_written_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), Lease(str(tmp_path)):
        pass
    assert os.listdir(tmp_path) == []


def test_a_heartbeat_too_slow_for_the_age_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least twice"):
        Lease(str(tmp_path), interval=100, stale_after=120)


# -- stale leases ------------------------------------------------------------------------------------


def test_a_killed_run_on_this_machine_is_succeeded_at_once(tmp_path: Path) -> None:
    code = FORGETFUL_RUN + "print('held', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LibraryInUse, match=str(process.pid)), Lease(str(tmp_path)):
            pass
        process.send_signal(signal.SIGKILL)
        # Not yet waited for: a process that has ended counts as gone all the same.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with Lease(str(tmp_path)) as lease:
            lease.check()


def test_a_run_that_forgets_its_lease_can_end(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORGETFUL_RUN, str(tmp_path)], check=True, cwd=ROOT, timeout=60)
    assert holder_of(str(tmp_path)) is not None
    with Lease(str(tmp_path)) as lease:
        lease.check()


def test_another_process_under_the_same_pid_does_not_hold_the_library(library: str) -> None:
    me = Holder.new()
    place(library, replace(me, process_started=me.process_started - 1, token="old"))
    with Lease(library) as lease:
        lease.check()


def test_a_process_of_which_nothing_is_known_but_its_pid_counts_as_running(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_allowed(pid: int, number: int) -> None:
        raise PermissionError

    place(library, Holder.new(), age=500)
    monkeypatch.setattr(os, "kill", not_allowed)
    monkeypatch.setattr(lease_module, "_process_started", lambda pid: None)
    with pytest.raises(LibraryInUse), Lease(library):
        pass


@pytest.mark.parametrize("content", [ELSEWHERE, b"", b"{", ELSEWHERE.to_json()[:-40]])
def test_a_lease_from_elsewhere_or_damaged_goes_by_its_age(library: str, content: bytes | Holder) -> None:
    place(library, content, age=100)
    with pytest.raises(LibraryInUse), Lease(library):
        pass
    place(library, content, age=140)
    with Lease(library) as lease:
        lease.check()


def test_a_lease_far_in_the_future_is_stale(library: str) -> None:
    place(library, ELSEWHERE, age=-100)
    with pytest.raises(LibraryInUse), Lease(library):
        pass
    place(library, ELSEWHERE, age=-3600)
    with Lease(library) as lease:
        lease.check()


def test_age_is_measured_on_the_clock_of_the_drive(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "UrlLeaseFile" if library == URL else "LocalLeaseFile"
    monkeypatch.setattr(f"transforms.lease_file.{kind}.clock", lambda self: time.time() - 3600)
    place(library, ELSEWHERE, age=3600)
    with pytest.raises(LibraryInUse), Lease(library):
        pass
    place(library, ELSEWHERE, age=3600 + 140)
    with Lease(library) as lease:
        lease.check()


# -- taking over -------------------------------------------------------------------------------------


def enter_at_once(library: str, *, runs: int) -> list[Lease]:
    """Starts several runs on a library together; returns the leases of those that got it."""
    barrier = threading.Barrier(runs)
    holding: list[Lease] = []

    def run() -> None:
        lease = Lease(library)
        barrier.wait()
        with contextlib.suppress(LibraryInUse):
            holding.append(lease.__enter__())

    threads = [threading.Thread(target=run) for _ in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return holding


@pytest.mark.parametrize("stale", [b"", ELSEWHERE, None])
def test_of_many_runs_at_once_one_gets_the_library(tmp_path: Path, stale: bytes | Holder | None) -> None:
    for attempt in range(20):
        library = str(tmp_path / str(attempt))
        if stale is not None:
            place(library, stale, age=500)
        holding = enter_at_once(library, runs=6)
        assert len(holding) == 1
        holding[0].check()
        holding[0].__exit__(None, None, None)
        assert os.listdir(library) == []


def test_a_takeover_that_crashed_halfway_is_cleaned_up(tmp_path: Path) -> None:
    place(str(tmp_path), ELSEWHERE, age=500)
    lock = tmp_path / ".lease-takeover.partial"
    lock.touch()
    with pytest.raises(LibraryInUse, match="several runs"), Lease(str(tmp_path)):
        pass
    os.utime(lock, (time.time() - 100, time.time() - 100))
    with Lease(str(tmp_path)) as lease:
        lease.check()
    assert os.listdir(tmp_path) == []


def test_a_lease_that_came_alive_while_it_was_judged_stale_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(str(tmp_path), ELSEWHERE, age=500)
    clock = LocalLeaseFile.clock

    def meanwhile(self: LocalLeaseFile) -> float:
        now = clock(self)
        place(str(tmp_path), replace(ELSEWHERE, beat="2026-01-01T00:00:00.000000+00:00"))
        return now

    monkeypatch.setattr(LocalLeaseFile, "clock", meanwhile)
    with pytest.raises(LibraryInUse), Lease(str(tmp_path)):
        pass
    assert holder_of(str(tmp_path)) == replace(ELSEWHERE, beat="2026-01-01T00:00:00.000000+00:00")
    assert os.listdir(tmp_path) == [LEASE_FILE]


def test_on_a_url_the_later_of_two_writes_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.lease_file.time.sleep", lambda seconds: place(URL, ELSEWHERE))
    with pytest.raises(LibraryInUse, match="nas-client"), Lease(URL):
        pass
    assert holder_of(URL) == ELSEWHERE


# -- losing a lease ----------------------------------------------------------------------------------


def test_a_run_notices_that_another_took_over_and_leaves_its_lease(library: str) -> None:
    with Lease(library) as lease:
        place(library, ELSEWHERE)
        with pytest.raises(LeaseLost, match="process 4321 on nas-client"):
            lease.check()
    assert holder_of(library) == ELSEWHERE


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_a_run_notices_that_its_lease_is_gone_or_damaged(library: str, content: bytes | None) -> None:
    with Lease(library) as lease:
        if content is None:
            storage.remove(storage.join(library, LEASE_FILE))
        else:
            place(library, content)
        with pytest.raises(LeaseLost, match="gone or damaged"):
            lease.check()


def test_a_lease_that_is_missing_for_a_moment_is_not_lost(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lease(library) as lease:
        content = storage.read_bytes(storage.join(library, LEASE_FILE))
        place(library, b"")

        def meanwhile(seconds: float) -> None:
            if seconds:
                place(library, content)

        monkeypatch.setattr(lease_module.time, "sleep", meanwhile)
        monkeypatch.setattr(lease_module, "_READ_PAUSES", (0.0, 0.2))
        lease.check()


def test_the_heartbeat_keeps_a_lease_young(library: str) -> None:
    with Lease(library, interval=0.01) as lease:
        before = holder_of(library)
        assert before is not None
        place(library, before, age=500)
        until(lambda: holder_of(library) not in (None, before))
        after = holder_of(library)
        assert after is not None
        assert replace(after, beat=before.beat) == before
        assert len(after.to_json()) == len(before.to_json())
        lease.check()


def test_the_heartbeat_leaves_another_runs_lease_alone(library: str) -> None:
    with Lease(library, interval=0.01) as lease:
        place(library, ELSEWHERE)
        until(lambda: lease._thread is not None and not lease._thread.is_alive())
        assert holder_of(library) == ELSEWHERE


def unreachable(*_: object, **__: object) -> None:
    raise OSError(112, "Host is down")


def test_a_drive_that_is_gone_for_a_moment_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lease(str(tmp_path), interval=0.01, stale_after=60.0) as lease:
        tried = threading.Event()

        def fail(*_: object, **__: object) -> None:
            tried.set()
            unreachable()

        with monkeypatch.context() as gone:
            gone.setattr(LocalLeaseFile, "rewrite", fail)
            gone.setattr(LocalLeaseFile, "read", unreachable)
            assert tried.wait(10)
            lease.check()
        before = holder_of(str(tmp_path))
        until(lambda: holder_of(str(tmp_path)) not in (None, before))
        lease.check()


def test_a_drive_that_stays_away_loses_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease(str(tmp_path), interval=0.01, stale_after=0.05) as lease:
        monkeypatch.setattr(LocalLeaseFile, "rewrite", unreachable)
        until(lambda: lost(lease))
        with pytest.raises(LeaseLost, match="Host is down"):
            lease.check()


def test_a_run_that_was_stopped_for_long_keeps_a_lease_that_nobody_took(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lease(library) as lease:
        later = time.monotonic() + 1000
        monkeypatch.setattr(lease_module.time, "monotonic", lambda: later)
        lease.check()
        place(library, ELSEWHERE)
        monkeypatch.setattr(lease_module.time, "monotonic", lambda: later + 1000)
        with pytest.raises(LeaseLost, match="taken it over"):
            lease.check()


# -- the holder --------------------------------------------------------------------------------------


def test_a_holder_survives_its_json() -> None:
    holder = Holder.new()
    assert Holder.from_json(holder.to_json()) == holder
    assert holder.is_here() and holder.is_running()


@given(
    content=st.binary(max_size=50)
    | st.dictionaries(
        st.sampled_from(sorted(asdict(ELSEWHERE))),
        st.none() | st.integers() | st.floats() | st.text("1.e-", max_size=3) | st.just([]),
    ).map(lambda data: json.dumps(data).encode())
)
def test_a_damaged_lease_names_nobody_or_somebody_but_never_fails(content: bytes) -> None:
    holder = Holder.from_json(content)
    assert holder is None or isinstance(holder.is_running(), bool)
