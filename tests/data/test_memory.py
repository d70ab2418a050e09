"""The memory that a process may use: a machine's, or a container's."""

from pathlib import Path

import numpy as np
import pytest

from charlm.data.system.memory import memory_bytes
from charlm.data.text.bits import in_bits

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


def test_a_bit_is_a_choice_of_two() -> None:
    nats = -np.log([0.5, 0.25, 1.0])
    assert in_bits(nats) == pytest.approx([1, 2, 0])
    assert in_bits(float(nats[1])) == pytest.approx(2)
