"""Stack traces of a step that hangs."""

import time

from mtljax.training.reporting.hanging_step import HangingStep


def hang(seconds):
    time.sleep(seconds)


def test_a_step_that_hangs_says_where(capfd):
    quiet, watch = HangingStep(0.0), HangingStep(0.05)
    for one in (quiet, watch):
        one.begin()
        one.end()
    hang(0.2)
    assert capfd.readouterr().err == ""
    # Each step sets the clock anew, and a step that takes too long says where it is.
    for seconds in (0.0, 0.0, 0.2):
        watch.begin()
        hang(seconds)
    said = capfd.readouterr().err
    watch.end()
    assert said.startswith("Timeout (0:00:00.050000)!") and said.count("Timeout") == 1
    assert ", line " in said and " in hang" in said
