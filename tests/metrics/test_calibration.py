import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.metrics import calibration

ANSWERS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0]), st.booleans()),
                   min_size=1, max_size=20)  # fmt: skip


@given(ANSWERS, st.integers(1, 5))
def test_equals_the_definition(answers, bins):
    probabilities, correct = map(np.array, zip(*answers, strict=True))
    found, error = calibration(probabilities, correct, bins), 0.0
    for number in range(bins):
        inside = (probabilities > number / bins) & (probabilities <= (number + 1) / bins)
        if number == 0:
            inside |= probabilities == 0
        assert found.counts[number] == inside.sum()
        if inside.any():
            right, sure = correct[inside].mean(), probabilities[inside].mean()
            np.testing.assert_allclose([found.accuracy[number], found.probability[number]],
                                       [right, sure])  # fmt: skip
            error += inside.mean() * abs(right - sure)
        else:
            assert np.isnan(found.accuracy[number]) and np.isnan(found.probability[number])
    np.testing.assert_allclose(found.error, error, atol=1e-12)


def test_bad_arguments():
    for arguments in (([], []), ([0.5], [True, True]), ([1.5], [True]), ([0.5], [True], 0)):
        with pytest.raises(ValueError, match="must be"):
            calibration(*arguments)
