"""What a window may be, and which models were trained on one."""

from dataclasses import replace
from typing import Any

import pytest

from charlm.data.system.errors import SettingsError
from charlm.export.contract import Metadata
from charlm.infer.request import Request
from charlm.infer.window import MAX_WINDOW, check_window, hint, trained_window


@pytest.mark.parametrize("window", [0, -1, MAX_WINDOW + 1, 1 << 70])
def test_a_window_out_of_range_is_refused_wherever_it_is_given(window: int) -> None:
    saying = rf"--window is from 1 to 4096 characters, not {window};"
    with pytest.raises(SettingsError, match=saying):
        check_window(window)
    with pytest.raises(SettingsError, match=saying):
        Request("a", window=window)


@pytest.mark.parametrize("window", [None, 1, 40, MAX_WINDOW])
def test_the_others_are_taken(window: int | None) -> None:
    check_window(window)
    assert Request("a", window=window).window == window


@pytest.mark.parametrize(
    ("summary", "window"),
    [
        ({"training": {"recipe": "notebook", "seq_len": 40}}, 40),
        ({"training": {"recipe": "notebook", "seq_len": 25}}, 25),
        ({"training": {"recipe": "stateful", "seq_len": 96}}, None),
        ({"training": {"recipe": "notebook"}}, None),
        ({"training": {"recipe": "notebook", "seq_len": "40"}}, None),
        ({"training": {"recipe": "notebook", "seq_len": True}}, None),
        ({"training": {"recipe": "notebook", "seq_len": 0}}, None),
        ({"training": ["notebook"]}, None),
        ({}, None),
    ],
)
def test_a_model_says_what_window_it_was_trained_on(
    small_metadata: Metadata, summary: dict[str, Any], window: int | None
) -> None:
    """Whatever else its summary holds is no error: it is for people."""
    metadata = replace(small_metadata, summary=summary)
    assert trained_window(metadata) == window
    found = hint(metadata)
    assert (found is None) == (window is None)
    assert found is None or f"--window {window} " in found
