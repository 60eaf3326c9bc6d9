"""Relative positions: buckets by their definition; `tests/pretrained` has T5, which has them."""

import math

import numpy as np
import pytest

from mtljax.modules.relative import distance_buckets


def bucket(distance, buckets, most):
    """As Raffel et al. 2020 define it, section 2.1: half of them exact, half logarithmic."""
    near = buckets // 2
    if distance < near:
        return distance
    # Not below a whole number that the logarithms, which are rounded, mean.
    share = math.log(distance / near) / math.log(most / near) * (buckets - near)
    return min(near + math.floor(share + 1e-9), buckets - 1)


@pytest.mark.parametrize(("buckets", "most"), [(16, 128), (32, 128), (4, 12), (8, 12), (2, 5)])
def test_buckets(buckets, most):
    found = distance_buckets(buckets, most)
    assert found.tolist() == [bucket(d, buckets, most) for d in range(most + 1)]
    assert found[-1] == buckets - 1 and (np.diff(found) >= 0).all()
