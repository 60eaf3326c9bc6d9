"""A sample of the random tasks files and data files that `tests/faults/random_inputs.py` makes."""

import pytest

from tests.faults.random_inputs import check


@pytest.mark.parametrize("first", [0, 20, 160])
def test_random_files_are_read_or_refused(first, tmp_path):
    read = 0
    for seed in range(first, first + 20):
        directory = tmp_path / str(seed)
        directory.mkdir()
        said, _ = check(seed, directory)
        read += not said
    assert read  # not all are refused
