"""Limits of control groups, read from files as the kernel shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cgroups import Limits, container_limits

GB = 1_000_000_000
UNLIMITED = str((1 << 63) - 4096)  # what the first version says where there is no limit


def limits(folder: Path, own_groups: str, **groups: dict[str, str]) -> Limits:
    """The limits where each of `groups`, by its path with two underscores for slashes, holds files."""
    for path, files in groups.items():
        group = folder / "mounted" / path.replace("__", "/").strip("/")
        group.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (group / name).write_text(text + "\n")
    (folder / "own").write_text(own_groups)
    return container_limits(mounted=folder / "mounted", own_groups=folder / "own")


def memory(limit: str, used: int = 0, *, cached: int = 0) -> dict[str, str]:
    stat = f"anon 5\ninactive_file {cached}\nactive_file 7"
    return {"memory.max": limit, "memory.current": str(used), "memory.stat": stat}


def first_version_memory(limit: str, used: int, *, cached: int) -> dict[str, str]:
    stat = f"inactive_file 1\ntotal_inactive_file {cached}"
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": str(used), "memory.stat": stat}


def test_a_container_sees_its_own_group_as_the_outermost(tmp_path: Path) -> None:
    files = {"cpu.max": "250000 100000", **memory(str(4 * GB), 3 * GB, cached=2 * GB)}
    assert limits(tmp_path, "0::/\n", __=files) == Limits(2.5, 3 * GB)


def test_files_that_were_read_do_not_count_as_used(tmp_path: Path) -> None:
    files = memory(str(4 * GB), 4 * GB, cached=4 * GB - 5)
    assert limits(tmp_path, "0::/\n", __=files).memory == 4 * GB - 5


def test_the_narrowest_of_the_groups_around_a_process_counts(tmp_path: Path) -> None:
    found = limits(
        tmp_path,
        "0::/system.slice/photos.service\n",
        **{
            "system.slice": {"cpu.max": "100000 100000", **memory(str(2 * GB), GB)},
            "system.slice__photos.service": {"cpu.max": "400000 100000", **memory(str(8 * GB), GB)},
        },
    )
    assert found == Limits(1.0, GB)


@pytest.mark.parametrize("own_groups", ["0::/\n", "0::/absent/group\n", "0::/../outside\n"])
def test_max_is_no_limit(tmp_path: Path, own_groups: str) -> None:
    found = limits(tmp_path, own_groups, __={"cpu.max": "max 100000", **memory("max", 3 * GB)})
    assert found == Limits()


def test_a_group_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    assert limits(tmp_path, "0::/\n", __=memory(str(GB), 2 * GB)).memory == 0


def test_the_first_version_has_a_tree_for_each_resource(tmp_path: Path) -> None:
    found = limits(
        tmp_path,
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:pids:/docker/abc\n1:name=systemd:/\n0::/\n",
        cpu={"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000"},
        memory=first_version_memory(UNLIMITED, GB, cached=0),
        memory__docker__abc=first_version_memory(str(2 * GB), GB, cached=GB // 2),
    )
    assert found == Limits(1.5, GB + GB // 2)


def test_the_first_version_has_a_number_for_no_limit(tmp_path: Path) -> None:
    files = first_version_memory(UNLIMITED, GB, cached=0)
    assert limits(tmp_path, "4:memory:/\n", memory=files) == Limits()


def test_without_a_quota_the_first_version_says_minus_one(tmp_path: Path) -> None:
    quota = {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}
    assert limits(tmp_path, "1:cpu:/\n", cpu=quota).cores is None


@pytest.mark.parametrize("own_groups", ["", "nonsense\n", "0::\n", "::::\n"])
def test_what_can_not_be_read_limits_nothing(tmp_path: Path, own_groups: str) -> None:
    assert limits(tmp_path, own_groups, __={"cpu.max": "?", "memory.max": "", "memory.stat": "x"}) == Limits()
    assert container_limits(mounted=tmp_path / "none", own_groups=tmp_path / "none") == Limits()


def test_this_machine_can_be_asked() -> None:
    found = container_limits()
    assert found.cores is None or found.cores > 0
    assert found.memory is None or found.memory >= 0
