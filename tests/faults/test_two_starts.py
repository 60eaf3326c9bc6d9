"""The same command twice at once: one trains, the other is told so, and nothing is lost.

`MTLJAX_STARTS` is how often that is tried.
"""

import json
import os
import random

import pytest

from tests.faults.conftest import assert_same
from tests.run_metrics import without_times

COUNT = int(os.environ.get("MTLJAX_STARTS", "5"))
SEED = int(os.environ.get("MTLJAX_STARTS_SEED", "0"))


@pytest.fixture(scope="module")
def alone(start, tmp_path_factory):
    """A run that nobody else starts."""
    directory = tmp_path_factory.mktemp("alone") / "run"
    assert start(directory, 1).codes == [0]
    return directory


def test_two_at_once(start, alone, tmp_path, capsys):
    rng, ends = random.Random(SEED), {}
    for number in range(COUNT):
        directory = tmp_path / str(number)
        again = rng.random() < 0.3  # a run that was stopped, which both continue
        if again:
            stop = {"process": 0, "step": rng.randint(2, 9), "do": "terminate"}
            assert start(directory, 1, faults=(stop,)).codes == [143]
        delay = rng.choice([0.0, rng.uniform(0, 0.3), rng.uniform(0, 3)])
        ended = start(directory, 2, apart=[0.0, delay])
        label = f"start {number} (seed {SEED}), {delay:.2f} s apart, again: {again}: {ended}"
        assert sorted(ended.codes) in ([0, 0], [0, 2]), label
        for code, err in zip(ended.codes, ended.err, strict=True):
            if code:
                known = ("is writing there; wait for", "has begun a run there meanwhile")
                assert err.count("\n") == 1 and any(text in err for text in known), label
        if ended.codes == [0, 0]:  # the second came when the first had ended
            assert any("complete, nothing to do" in out for out in ended.out), label
        how = "one refused" if 2 in ended.codes else "one late"
        ends[how] = ends.get(how, 0) + 1
        assert_same(directory, alone)
        lines = without_times(directory)
        assert [line for line in lines if line in without_times(alone)] == without_times(alone) or (
            again and lines[-1] == without_times(alone)[-1]
        ), label
        one, other = (json.loads((run / "summary.json").read_text()) for run in (directory, alone))
        assert one["tasks"] == other["tasks"], label
        assert not [p for p in (directory / "checkpoints").iterdir() if not p.name.isdigit()], label
    with capsys.disabled():
        print(f"\n{COUNT} double starts: {ends}")
