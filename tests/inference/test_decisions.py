import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.errors import UserError
from mtljax.inference import Decisions, reject_below
from mtljax.inference.decisions import check_decisions, decided

ANSWERED = st.lists(st.tuples(st.sampled_from([0.2, 0.4, 0.5, 0.9, 1.0]), st.booleans()),
                    min_size=1, max_size=12)  # fmt: skip


@given(ANSWERED, st.sampled_from([0.0, 0.3, 0.5, 0.75, 1.0]))
def test_the_lowest_threshold_is_that_of_all_that_are_tried(answered, accuracy):
    probabilities, correct = map(np.array, zip(*answered, strict=True))

    def share(threshold):
        return correct[probabilities >= threshold].mean()

    will_do = [float(t) for t in set(probabilities) if share(t) >= accuracy]
    assert reject_below(probabilities, correct, accuracy) == min(will_do, default=math.inf)


def test_what_is_decided():
    label = {"label": "a", "probabilities": {"a": 0.6, "b": 0.4}}
    assert decided(label, Decisions(reject_below=0.6)) == label  # not below
    assert decided(label, Decisions(reject_below=0.61)) == {**label, "label": None}
    labels = {"labels": ["a"], "probabilities": {"a": 0.6, "b": 0.4}}
    for threshold, expected in ((0.3, ["a", "b"]), (0.5, ["a"]), (0.6, [])):
        found = decided(labels, Decisions(threshold, reject_below=1.0))
        assert found == {**labels, "labels": expected}
    assert decided({"value": 3.0}, Decisions(0.9, 0.9)) == {"value": 3.0}


def test_bad_arguments():
    for decisions in (Decisions(threshold=1.5), Decisions(reject_below=math.nan)):
        with pytest.raises(UserError, match=r"must be in \[0, 1\]"):
            check_decisions(decisions)
    for arguments in (([], [], 0.5), ([0.5], [True, False], 0.5), ([0.5], [True], 1.5)):
        with pytest.raises(ValueError, match="must be"):
            reject_below(*arguments)
