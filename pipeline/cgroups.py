"""What a container, or a service, is allowed of its machine: Linux control groups of both versions.

Inside, the machine still shows all its cores and all its memory. Who counts on them is slowed down, or
killed.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max, memory.max), cgroup-v1/memory.html and
scheduler/sched-bwc.html there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNTED, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Limit, use, and in memory.stat what of that use the kernel drops first: files that were read.
_MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
# The first version has no word for that, only a number of bytes beyond all memory.
_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class Limits:
    """Of this process and its kin: `cores` at a time, maybe a part of one, and bytes of `memory` that are
    still free. None where nothing is limited."""

    cores: float | None = None
    memory: int | None = None


def container_limits(*, mounted: Path = _MOUNTED, own_groups: Path = _OWN_GROUPS) -> Limits:
    """The narrowest limits of the control groups around this process; none where there are no groups.

    `mounted` is where control groups are mounted, `own_groups` the kernel's list of this process's own.
    """
    folders = list(_folders(mounted, own_groups))
    cores = [found for folder in folders if (found := _cores(folder)) is not None]
    memory = [found for folder in folders if (found := _free_memory(folder)) is not None]
    return Limits(min(cores, default=None), min(memory, default=None))


def _folders(mounted: Path, own_groups: Path) -> Iterator[Path]:
    """The folders of this process's groups, and of all groups around them: each may set a limit.

    In a container the inner ones may not be there: its own group is mounted as if it were the outermost.
    """
    for line in _text(own_groups).splitlines():
        _, _, controllers_and_path = line.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        # The second version has no controllers here, and lies lower where both are in use.
        names = {"cpu", "memory"} & set(controllers.split(",")) if controllers else {"", "unified"}
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for name in names:
            for depth in range(len(parts) + 1):
                yield Path(mounted, name, *parts[:depth])


def _cores(folder: Path) -> float | None:
    text = _text(folder / "cpu.max") or " ".join(
        _text(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    )
    try:
        quota, period = map(int, text.split())
    except ValueError:
        return None  # "max", or no such file
    return quota / period if quota > 0 and period > 0 else None


def _free_memory(folder: Path) -> int | None:
    for limit, use, droppable in _MEMORY_FILES:
        try:
            most, used = int(_text(folder / limit)), int(_text(folder / use))
        except ValueError:
            continue  # "max", or no such file
        if most >= _UNLIMITED:
            continue
        stat = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
        return max(0, most - used + int(stat.get(droppable, 0)))
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
