"""Whole runs as a user starts them: the main job, and what happens when things go wrong meanwhile."""

from __future__ import annotations

import json
import shutil
import textwrap
import time
from datetime import datetime
from pathlib import Path

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
from tests.people_archive import landscape, portrait, write_archive
from transforms.library import Library
from transforms.tables import NAME, PATH_BYTES, PERSON_ID, PHOTO_ID, REASON, STATUS


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


def test_a_killed_worker_costs_nothing_and_a_second_run_is_refused_meanwhile(
    archive: Path, undisturbed: Path, indexing: Indexing, slow_drive: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    arguments = indexing(archive, library, size=1)
    process = start(*arguments, "--json", sabotage=slow_drive)
    wait_until(lambda: (library / "lease.json").exists(), process)  # its workers are yet to start
    code, _, err = finish(start(*arguments))
    assert code == 1
    assert "in use" in err
    assert str(process.pid) in err
    for target in (1, 5):
        wait_until(lambda target=target: committed(library) >= target and workers(process), process)
        workers(process)[0].kill()
    code, out, err = finish(process)
    assert code == 0, err
    facts = json.loads(out.splitlines()[-1])
    assert facts["index"]["restarts"] >= 2
    assert "error" not in facts["index"]["photos"]
    assert_same_content(library, undisturbed)


def test_chunks_that_were_written_twice_count_once(
    archive: Path, undisturbed: Path, indexing: Indexing, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    shutil.copytree(undisturbed, library)
    # What a worker leaves that was thought dead: two more chunks with the rows of others.
    fingerprint = str(Library.open(str(library)).info().fingerprint)
    for folder in ("photos", f"faces/{fingerprint}", "thumbs"):
        for source in list((library / folder).iterdir())[:1]:
            for copy in ("again-1", "again-2"):
                (source.parent / f"{copy}.parquet").write_bytes(source.read_bytes())
    (archive / "one-more.jpg").write_bytes(portrait("hopper", 40))
    try:
        albumen(*indexing(archive, library))
        (archive / "one-more.jpg").unlink()
        albumen(*indexing(archive, library), "--prune")
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


def test_a_file_that_kills_its_process_costs_itself_alone(indexing: Indexing, tmp_path: Path) -> None:
    archive, library, sabotage = tmp_path / "photos", tmp_path / "library", tmp_path / "sabotage"
    archive.mkdir()
    sabotage.mkdir()
    photos = {
        "a": portrait("hopper"),
        "b": landscape(),
        "c": portrait("collins"),
        "killer": portrait("hopper", 9),
    }
    for name, data in photos.items():
        (archive / f"{name}.jpg").write_bytes(data)
    (sabotage / "sitecustomize.py").write_text(textwrap.dedent(SABOTAGE))
    facts = albumen(*indexing(archive, library, size=2), sabotage=sabotage)
    assert facts["index"]["photos"] == {"ok": 2, "no_face": 1, "error": 1}
    rows = {r[PATH_BYTES]: r for r in Library.open(str(library)).read_photos().to_pylist()}
    assert rows[b"killer.jpg"][STATUS] == "error"
    assert "SIGSEGV" in rows[b"killer.jpg"][REASON]
    # Known now: the next run leaves it alone, and ends well although it would still kill.
    again = albumen(*indexing(archive, library), sabotage=sabotage)
    assert again["index"]["unchanged"] == 4


def test_a_root_that_disappears_stops_the_run_and_leaves_no_false_rows(
    indexing: Indexing, slow_drive: Path, tmp_path: Path
) -> None:
    library, root = tmp_path / "library", write_archive(tmp_path / "photos", portraits_each=7)
    process = start(*indexing(root, library, size=1), sabotage=slow_drive)
    wait_until(lambda: committed(library) >= 2, process)
    root.rename(tmp_path / "unmounted")
    code, _, err = finish(process)
    assert code == 1
    assert str(root) in err
    assert "error" not in {state for _, state in content(library)[0].values()}
    (tmp_path / "unmounted").rename(root)
    assert albumen(*indexing(root, library))["complete"]
    assert {state for _, state in content(library)[0].values()} == {"ok", "no_face"}


LONG_READ = """
import sys

if any("pipeline.worker" in a for a in sys.orig_argv):
    import time
    from transforms import archive

    read, photos = archive.read_file, []

    def read_file(location, path):
        photos.append(path)
        if len(photos) == 3:
            time.sleep(max(0, {until} - time.time()))
        return read(location, path)

    archive.read_file = read_file
"""


def test_until_stops_cleanly_groups_and_reports(archive: Path, indexing: Indexing, tmp_path: Path) -> None:
    past = albumen("run", archive, tmp_path / "past", "--until", "2020-01-01T07:00", "--quiet")
    assert past["index"]["left"] == past["index"]["listed"]
    assert not past["complete"]
    assert past["group"]["faces"] == 0
    assert (tmp_path / "past" / "report" / "index.html").exists()

    library, until, sabotage = tmp_path / "soon", time.time() + 8, tmp_path / "sabotage"
    sabotage.mkdir()
    (sabotage / "sitecustomize.py").write_text(LONG_READ.format(until=until))
    soon = datetime.fromtimestamp(until).isoformat()
    facts = albumen(*indexing(archive, library, size=1), "--until", soon, sabotage=sabotage)
    done = sum(facts["index"]["photos"].values())
    assert facts["index"]["left"] > 0, "the time came while there was more to do"
    assert done + facts["index"]["left"] == facts["index"]["listed"]
    assert len(content(library)[0]) == done
    assert albumen(*indexing(archive, library))["complete"]
    assert len(content(library)[0]) == facts["index"]["listed"]
