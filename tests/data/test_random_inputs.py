"""A sample of the random tasks files and data files that `tests/faults/random_inputs.py` makes."""

import pytest

from tests.faults.random_inputs import SECONDS, check


@pytest.mark.parametrize("first", [0, 20, 160])
def test_random_files_are_read_or_refused(first, tmp_path):
    read = 0
    for seed in range(first, first + 20):
        directory = tmp_path / str(seed)
        directory.mkdir()
        said, seconds = check(seed, directory)
        read += not said
        # The first one loads libraries.
        assert seed == first or seconds < SECONDS, (seed, seconds, said)
    assert read  # not all are refused
