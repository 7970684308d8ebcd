"""Whole runs as a user starts them: the main job, and what happens when things go wrong meanwhile."""

from __future__ import annotations

import json
import textwrap
import time
from datetime import datetime
from pathlib import Path

from tests.end_to_end.albumen_process import (
    albumen,
    assert_same_content,
    committed,
    content,
    finish,
    start,
    wait_until,
    workers,
)
from tests.people_archive import portrait, together, write_archive
from transforms.library import Library
from transforms.tables import NAME, PATH_BYTES, PERSON_ID, PHOTO_ID, REASON, STATUS


def small_chunks(archive: Path, library: Path, *, size: int = 4) -> list[object]:
    return ["index", archive, library, "--workers", 2, "--chunk-size", size, "--quiet"]


def test_the_main_job_turns_photos_into_people(tmp_path: Path) -> None:
    from pipeline.demo import write_archive as write_demo

    write_demo(str(tmp_path / "photos"))
    library = tmp_path / "library"
    facts = albumen("run", tmp_path / "photos", library, "--workers", 1, "--quiet")
    assert facts["complete"]
    assert facts["index"]["photos"] == {"ok": 17, "skipped": 1}
    assert facts["group"]["people"] == 2

    opened = Library.open(str(library))
    revision = opened.current_revision()
    assert revision is not None
    photos = {r[PHOTO_ID]: r[PATH_BYTES].decode() for r in opened.read_photos().to_pylist()}
    folders: dict[str, set[str]] = {}
    for row in opened.read_assignments(revision).to_pylist():
        if row[PERSON_ID]:
            folder = photos[row["face_id"].partition(":")[0]].rpartition("/")[0]
            folders.setdefault(row[PERSON_ID], set()).add(folder)
    assert sorted(map(sorted, folders.values())) == [["", "collins"], ["", "hopper"]]
    assert "Content-Security-Policy" in (library / "report" / "index.html").read_text()
    log = json.loads((library / "logs" / f"{facts['index']['run']}.json").read_text())
    assert log["complete"] is True

    again = albumen("run", tmp_path / "photos", library, "--quiet")
    assert again["index"]["unchanged"] == 18
    assert "group" not in again
    assert opened.current_revision() == revision
    assert {r[NAME] for r in opened.read_people(revision).to_pylist()} == {None}


def test_a_worker_that_is_killed_costs_nothing(archive: Path, undisturbed: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    process = start(*small_chunks(archive, library), "--json")
    for target in (1, 5):
        wait_until(lambda target=target: committed(library) >= target and workers(process), process)
        workers(process)[0].kill()
    code, out, err = finish(process)
    assert code == 0, err
    facts = json.loads(out.splitlines()[-1])
    assert facts["index"]["restarts"] >= 1
    assert "error" not in facts["index"]["photos"]
    assert_same_content(library, undisturbed)


def test_workers_go_when_the_run_is_killed(archive: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    process = start(*small_chunks(archive, library))
    wait_until(lambda: committed(library) >= 1 and workers(process), process)
    running = workers(process)
    process.kill()
    finish(process)
    deadline = time.monotonic() + 20
    while any(w.is_running() and w.status() != "zombie" for w in running):
        assert time.monotonic() < deadline, "a worker outlived its run"
        time.sleep(0.1)


def test_chunks_that_were_written_twice_count_once(archive: Path, undisturbed: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    albumen(*small_chunks(archive, library))
    # What a worker leaves that was thought dead: two more chunks with the rows of others.
    fingerprint = str(Library.open(str(library)).info().fingerprint)
    for folder in ("photos", f"faces/{fingerprint}", "thumbs"):
        for source in list((library / folder).iterdir())[:1]:
            for copy in ("again-1", "again-2"):
                (source.parent / f"{copy}.parquet").write_bytes(source.read_bytes())
    (archive / "one-more.jpg").write_bytes(portrait("hopper", 40))
    try:
        albumen(*small_chunks(archive, library))
        (archive / "one-more.jpg").unlink()
        albumen(*small_chunks(archive, library), "--prune")
    finally:
        (archive / "one-more.jpg").unlink(missing_ok=True)
    assert_same_content(library, undisturbed)


SABOTAGE = """
import sys

if any("pipeline.worker" in a for a in sys.orig_argv):
    import os, signal
    from transforms import decode

    read = decode.read_photo

    def read_photo(data, **options):
        if options["name"] == b"killer.jpg":
            os.kill(os.getpid(), signal.SIGSEGV)
        return read(data, **options)

    decode.read_photo = read_photo
"""


def test_a_file_that_kills_its_process_costs_itself_alone(tmp_path: Path) -> None:
    archive, library, sabotage = tmp_path / "photos", tmp_path / "library", tmp_path / "sabotage"
    write_archive(archive)
    (archive / "killer.jpg").write_bytes(portrait("collins", 30))
    sabotage.mkdir()
    (sabotage / "sitecustomize.py").write_text(textwrap.dedent(SABOTAGE))
    facts = albumen(
        "index", archive, library, "--workers", 1, "--chunk-size", 4, "--quiet", sabotage=sabotage
    )
    assert facts["index"]["photos"] == {"ok": 7, "no_face": 1, "error": 1}
    rows = {r[PATH_BYTES]: r for r in Library.open(str(library)).read_photos().to_pylist()}
    assert rows[b"killer.jpg"][STATUS] == "error"
    assert "SIGSEGV" in rows[b"killer.jpg"][REASON]
    # Known now: the next run leaves it alone, and ends well although it would still kill.
    again = albumen("index", archive, library, "--quiet", sabotage=sabotage)
    assert again["index"]["unchanged"] == 9


def test_a_root_that_disappears_stops_the_run_and_leaves_no_false_rows(archive: Path, tmp_path: Path) -> None:
    library, root = tmp_path / "library", tmp_path / "photos"
    root.mkdir()
    for path in archive.rglob("*.jpg"):
        (root / path.name).write_bytes(path.read_bytes())
    process = start(*small_chunks(root, library))
    wait_until(lambda: committed(library) >= 2, process)
    root.rename(tmp_path / "unmounted")
    code, _, err = finish(process)
    assert code == 1
    assert str(root) in err
    assert "error" not in {state for _, state in content(library)[0].values()}
    (tmp_path / "unmounted").rename(root)
    assert albumen(*small_chunks(root, library))["complete"]
    assert {state for _, state in content(library)[0].values()} == {"ok", "no_face"}


def test_a_second_run_on_the_same_library_is_refused(archive: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    first = start(*small_chunks(archive, library))
    wait_until(lambda: (library / "lease.json").exists(), first)  # its workers are yet to start
    code, _, err = finish(start(*small_chunks(archive, library)))
    assert code == 1
    assert "in use" in err
    assert str(first.pid) in err
    assert finish(first)[0] == 0


def test_until_stops_cleanly_groups_and_reports(archive: Path, tmp_path: Path) -> None:
    past = albumen("run", archive, tmp_path / "past", "--until", "2020-01-01T07:00", "--quiet")
    assert past["index"]["left"] == past["index"]["listed"]
    assert not past["complete"]
    assert (tmp_path / "past" / "report" / "index.html").exists()

    soon = datetime.fromtimestamp(time.time() + 12).isoformat()
    library = tmp_path / "soon"
    facts = albumen("run", archive, library, "--workers", 1, "--chunk-size", 1, "--until", soon, "--quiet")
    done = sum(facts["index"]["photos"].values())
    assert done + facts["index"]["left"] == facts["index"]["listed"]
    assert len(content(library)[0]) == done
    assert albumen("run", archive, library, "--quiet")["complete"]
    assert len(content(library)[0]) == facts["index"]["listed"]


def test_wrong_use_says_what_to_do(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(together())
    for arguments, said in [
        (("index", photos), "LIBRARY"),
        (("index", photos, tmp_path / "l", "--until", "7 o'clock"), "--until"),
        (("index", photos, tmp_path / "l", "--embedder", "arcface"), "facenet-casia"),
        (("index", photos, tmp_path / "l", "--embedder", "onnx:/nowhere.onnx"), "/nowhere.onnx"),
        (("index", photos, tmp_path / "l", "--workers", "0"), "--workers"),
    ]:
        code, _, err = finish(start(*arguments))
        assert code == 2, err
        assert said in err
    for arguments, said in [
        (("index", tmp_path / "nowhere", tmp_path / "l"), "nowhere"),
        (("group", photos), "not an Albumen library"),
    ]:
        code, _, err = finish(start(*arguments))
        assert code == 1, err
        assert said in err
