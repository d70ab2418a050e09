"""The forms of the step that were measured compute the same."""

import numpy as np
import pytest
import torch

from charlm.benchmarks import step_forms
from charlm.export import weights
from charlm.infer.session import Stepper
from charlm.train.config import ModelConfig
from charlm.train.model import CharLSTM


@pytest.fixture
def steppers() -> dict[str, Stepper]:
    torch.manual_seed(3)
    given = weights.from_torch(CharLSTM(ModelConfig(step_forms.VOCABULARY, hidden=8)))
    return {
        name: Stepper(step_forms._open(form, given), batch=2)
        for name, form in step_forms.FORMS.items()
    }


def test_every_form_gives_the_same_logits(steppers: dict[str, Stepper]) -> None:
    step_forms._check_equal(steppers)
    first, *others = (stepper.logits for stepper in steppers.values())
    assert len(others) == 3
    assert np.ptp(first) > 0
    for logits in others:
        np.testing.assert_allclose(logits, first, atol=1e-5)


def test_a_form_that_differs_is_refused(steppers: dict[str, Stepper]) -> None:
    name = next(iter(steppers))
    h, c = steppers[name].state()
    steppers[name].set_state(h + 1, c + 1)
    with pytest.raises(AssertionError):
        step_forms._check_equal(steppers)
