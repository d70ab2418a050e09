import os

import pytest

from charlm.data.system.cores import MAX_THREADS, check_threads, usable_cores
from charlm.data.system.errors import SettingsError


def test_the_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 6}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert usable_cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 1000)
    assert usable_cores() == MAX_THREADS


def test_threads_out_of_range() -> None:
    for good in (None, 1, MAX_THREADS):
        check_threads(good)
    for bad in (0, -1, MAX_THREADS + 1):
        with pytest.raises(SettingsError, match=f"^--threads is from 1 to 256, not {bad}$"):
            check_threads(bad)
