"""What a process may use of a machine: memory, cores, threads."""

import os
from pathlib import Path

import pytest

from charlm.data.system.cores import MAX_THREADS, check_threads, usable_cores
from charlm.data.system.errors import SettingsError
from charlm.data.system.memory import memory_bytes

MACHINE = memory_bytes(Path("no-such-root"))


def test_it_is_known_here_or_not_at_all() -> None:
    assert MACHINE is None or MACHINE > 1 << 28
    assert memory_bytes() is None or memory_bytes() > 1 << 20


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/", {"memory.max": "4096\n"}, 4096),
        ("0::/a/b", {"memory.max": "max\n", "a/memory.max": "90\n", "a/b/memory.max": "99\n"}, 90),
        ("0::/a/b", {"memory.max": "70\n"}, 70),
        ("0::/../..", {"memory.max": "70\n"}, 70),
        ("4:cpu,memory:/x\n1:cpu:/y", {"memory/x/memory.limit_in_bytes": "5000\n"}, 5000),
        ("4:memory:/docker/x\n0::/", {"memory/memory.limit_in_bytes": "5000\n"}, 5000),
        ("1:cpu:/x\n4:name=a:b:/memory", {"x/memory.max": "1\n"}, MACHINE),
        ("0::/", {"memory.max": "max\n"}, MACHINE),
        ("4:memory:/", {"memory/memory.limit_in_bytes": f"{2**62}\n"}, MACHINE or 2**62),
    ],
)
def test_a_containers_limit_is_seen(
    tmp_path: Path, groups: str, files: dict[str, str], limit: int | None
) -> None:
    """Control groups of version 2, then 1; of the groups around a process the narrowest counts."""
    shown = {"proc/self/cgroup": groups}
    shown |= {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    for name, content in shown.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory_bytes(tmp_path) == limit


@pytest.mark.parametrize(("counted", "cores"), [(12, 12), (None, 1), (1000, MAX_THREADS)])
def test_the_cores_are_those_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, counted: int | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 6}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on Windows and macOS
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert usable_cores() == cores


def test_threads_out_of_range() -> None:
    for good in (None, 1, MAX_THREADS):
        check_threads(good)
    for bad in (0, -1, MAX_THREADS + 1):
        with pytest.raises(SettingsError, match=f"^`threads` is from 1 to 256, not {bad}$"):
            check_threads(bad)
