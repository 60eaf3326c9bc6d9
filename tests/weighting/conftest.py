from collections.abc import Callable

import numpy as np
import pytest

from tests.weighting.jacobians import Jacobians
from tests.weighting.jacobians import jacobians as all_jacobians


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def jacobians() -> Callable[[int], Jacobians]:
    """Makes the shared hard problems of a number of tasks."""
    return all_jacobians
