"""Whole runs that are killed, starved of space, robbed of their library, or fed with damaged files."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from tests.damaged_photos import damaged_photos
from tests.end_to_end.albumen_process import (
    Indexing,
    albumen,
    assert_same_content,
    committed,
    content,
    finish,
    start,
    wait_until,
    workers,
)
from tests.people_archive import portrait, write_archive
from transforms.lease import Holder
from transforms.library import Library
from transforms.tables import PATH_BYTES, PHOTO_ID, REASON, STATUS

KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ROUNDS = int(os.environ.get("ALBUMEN_KILL_ROUNDS", "3"))


def test_parent_and_workers_killed_at_random_again_and_again(
    archive: Path, undisturbed: Path, indexing: Indexing, slow_drive: Path, tmp_path: Path
) -> None:
    """Three rounds; ALBUMEN_KILL_ROUNDS in the environment is another number, for longer runs by hand. A
    round after the one in which the last photo was committed begins a new library."""
    library, chance, kills = tmp_path / "library", random.Random(8), Counter[str]()
    photos = len(content(undisturbed)[0])
    for number in range(ROUNDS):
        before = content(library) if (library / "library.json").exists() else ({}, {})
        if len(before[0]) == photos:
            _assert_recovers(indexing(archive, library, size=1), library, undisturbed)
            library, before = tmp_path / f"library-{number}", ({}, {})
        arguments = indexing(archive, library, size=1, workers=chance.randint(1, 2))
        process = start(*arguments, sabotage=slow_drive)
        _wait_a_while(process, library, chance, start_too=number > 0)
        for _ in range(chance.randint(0, 2)):
            for worker in workers(process)[:1]:
                worker.kill()
                kills["worker"] += 1
            time.sleep(chance.random() * 0.3)
        running = workers(process)
        if process.poll() is None:
            how = KILLS[number % len(KILLS)]
            os.kill(process.pid, how)
            kills[how.name] += 1
        code, _, err = finish(process)
        assert code in (0, 130, *(-number for number in KILLS)), err
        _assert_gone(running)
        if (library / "library.json").exists():
            after = content(library)
            assert before[0].items() <= after[0].items(), "a committed photo is lost"
            assert before[1].keys() <= after[1].keys(), "a committed face is lost"
    assert sum(kills.values()) >= min(2, ROUNDS), kills
    _assert_recovers(indexing(archive, library, size=1), library, undisturbed)


def _assert_recovers(arguments: list[object], library: Path, undisturbed: Path) -> None:
    """An undisturbed run ends well, and leaves what it would have made alone."""
    assert albumen(*arguments)["complete"]
    assert_same_content(library, undisturbed)


def _assert_gone(running: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 20
    while any(w.is_running() and w.status() != "zombie" for w in running):
        assert time.monotonic() < deadline, "a worker outlived its run"
        time.sleep(0.05)


def _wait_a_while(
    process: subprocess.Popen[str], library: Path, chance: random.Random, *, start_too: bool
) -> None:
    """Now and then only a moment, so that a start is hit; else until something more is committed."""
    if start_too and chance.random() < 0.3:
        time.sleep(chance.random() * 2)
        return
    target = committed(library) + chance.randint(1, 4)
    while process.poll() is None and committed(library) < target:
        time.sleep(0.02)
    time.sleep(chance.random() * 0.1)


# -- drives --------------------------------------------------------------------------------------


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def small_drive(tmp_path: Path) -> Iterator[Path]:
    """A drive of 160 KB; skips the test where none may be mounted."""
    folder = tmp_path / "drive"
    folder.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=160k", "tmpfs", folder)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a small drive, on Linux")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


def test_a_drive_that_fills_up_or_can_not_be_written_costs_nothing_that_is_committed(
    archive: Path, undisturbed: Path, indexing: Indexing, small_drive: Path
) -> None:
    library = small_drive / "library"
    code, _, err = finish(start(*indexing(archive, library, size=2)))
    assert code == 1, err
    assert f"{library}" in err
    assert "No space left on device" in err
    assert "make room" in err
    assert "Traceback" not in err
    before = content(library)
    assert 0 < len(before[0]) < 24
    assert not list(library.rglob("*.partial"))

    mount("-o", "remount,ro,size=64m", small_drive)
    code, _, err = finish(start(*indexing(archive, library)))
    assert code == 1, err
    assert f"{library}" in err
    assert "Read-only file system" in err
    assert "make it writable" in err
    assert "Traceback" not in err

    mount("-o", "remount,rw,size=64m", small_drive)
    facts = albumen(*indexing(archive, library))
    assert facts["complete"]
    assert facts["index"]["unchanged"] == len(before[0])
    assert_same_content(library, undisturbed)


def test_a_folder_that_this_user_may_not_write_is_named(indexing: Indexing, tmp_path: Path) -> None:
    photos, library = tmp_path / "photos", tmp_path / "folder" / "library"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(portrait("hopper"))
    library.parent.write_text("a file where a folder should be")
    code, _, err = finish(start(*indexing(photos, library)))
    assert code == 1
    assert f"{library}" in err
    assert "give a folder" in err
    assert "Traceback" not in err


# -- the library's lease -------------------------------------------------------------------------


def elsewhere() -> bytes:
    """The lease of a run on another machine."""
    return Holder(**{**asdict(Holder.new()), "host": "nas-2", "boot": "another"}).to_json()


def test_a_stolen_library_is_let_go_and_of_two_runs_on_an_abandoned_one_one_works(
    archive: Path, undisturbed: Path, indexing: Indexing, slow_drive: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    first = start(*indexing(archive, library, size=1), sabotage=slow_drive)
    wait_until(lambda: committed(library) >= 2, first)
    (library / "lease.json").write_bytes(elsewhere())  # as if this machine had slept meanwhile
    code, _, err = finish(first)
    assert code == 1
    assert "on nas-2" in err
    assert "has taken it over" in err
    held = content(library)[0]

    long_ago = time.time() - 1000  # and that machine is gone now
    os.utime(library / "lease.json", (long_ago, long_ago))
    ended = [finish(run) for run in [start(*indexing(archive, library), "--json") for _ in range(2)]]
    # The second is refused, or saw the abandoned lease, waited for its end, and found nothing to do.
    assert all(code == 0 or "in use" in err or "are starting" in err for code, _, err in ended), ended
    indexed = [json.loads(out.splitlines()[-1])["index"]["photos"] for code, out, _ in ended if code == 0]
    assert sum(sum(photos.values()) for photos in indexed) == 24 - len(held), "each photo once"
    assert held.items() <= content(library)[0].items()
    assert_same_content(library, undisturbed)


# -- photos that can't be read, or go away -------------------------------------------------------

UNRELIABLE_DRIVE = """
import sys

if any("pipeline.worker" in a for a in sys.orig_argv):
    import errno, os, zlib
    from transforms import archive

    read = archive.read_file

    def read_file(location, path):
        if path == b"hopper/hopper-1.jpg":
            os.rename(os.path.join(location, "hopper"), os.path.join(location, "..", "away"))
        if zlib.crc32(path) % 3 == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(location, path)

    archive.read_file = read_file
"""


def test_photos_that_can_not_be_read_or_are_taken_away_are_errors_until_they_are_back(
    indexing: Indexing, tmp_path: Path
) -> None:
    archive, library, sabotage = tmp_path / "photos", tmp_path / "library", tmp_path / "sabotage"
    write_archive(archive, portraits_each=4)
    paths = {os.fsencode(p.relative_to(archive)) for p in archive.rglob("*.jpg")}
    unreadable = {path for path in paths if zlib.crc32(path) % 3 == 0}
    sabotage.mkdir()
    (sabotage / "sitecustomize.py").write_text(UNRELIABLE_DRIVE)
    facts = albumen(*indexing(archive, library, size=2), sabotage=sabotage)
    assert facts["complete"] and facts["index"]["restarts"] == 0

    rows = {r[PATH_BYTES]: r for r in Library.open(str(library)).read_photos().to_pylist()}
    assert rows.keys() == paths
    reasons = {path: row[REASON] for path, row in rows.items() if row[STATUS] == "error"}
    gone = reasons.keys() - unreadable
    assert {b"hopper/hopper-1.jpg"} <= gone <= {p for p in paths if p.startswith(b"hopper/")}
    assert {reasons[path] for path in gone} == {"vanished between listing and reading"}
    assert unreadable and {reasons[path] for path in unreadable} == {"can't be read: Input/output error"}

    settled = {path: state for path, state in content(library)[0].items() if path not in reasons}
    (tmp_path / "away").rename(archive / "hopper")
    again = albumen(*indexing(archive, library, size=2))
    assert again["index"]["unchanged"] == len(settled), "a photo that was read is not read again"
    photos = content(library)[0]
    assert settled.items() <= photos.items()
    assert {path: state for path, (_, state) in photos.items()} == {
        path: "no_face" if path == b"landscape.jpg" else "ok" for path in paths
    }


# -- damaged files -------------------------------------------------------------------------------


def test_a_thousand_damaged_files_end_in_one_state_each(indexing: Indexing, tmp_path: Path) -> None:
    photos, library = tmp_path / "photos", tmp_path / "library"
    photos.mkdir()
    files = damaged_photos(1000, seed=3)
    for name, data in files.items():
        (photos / name).write_bytes(data)
    command = indexing(photos, library, size=128)
    process, peak = start(*command, "--json", "--max-pixels", 30_000_000), 0
    wait_until(lambda: workers(process), process)
    (worker,) = workers(process)
    while process.poll() is None:
        peak = max(peak, _resident(worker))
        time.sleep(0.05)
    code, out, err = finish(process)
    assert code == 0, err
    facts = json.loads(out.splitlines()[-1])["index"]
    assert facts["restarts"] == 0, "a file ended the process that read it"
    assert sum(facts["photos"].values()) == facts["listed"] == 1000
    assert min(facts["photos"][state] for state in ("ok", "no_face", "skipped", "error")) > 0

    rows = {r[PATH_BYTES]: r for r in Library.open(str(library)).read_photos().to_pylist()}
    assert {os.fsdecode(path) for path in rows} == files.keys()
    for path, row in rows.items():
        assert (row[STATUS] == "ok") == (row[REASON] is None), (path, row)
        assert row[STATUS] == "skipped" or row[PHOTO_ID], (path, row)
    # 30 megapixels may take 360 MB beside the networks.
    assert peak < 1_600_000_000

    again = albumen(*command)
    assert again["index"]["unchanged"] == 1000


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
