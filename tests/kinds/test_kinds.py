import numpy as np
import pytest

from mtljax import losses, metrics
from mtljax.kinds import KINDS, chosen_loss


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_names_what_there_is(name):
    kind = KINDS[name]
    assert kind.losses and {chosen_loss(kind, loss) for loss in kind.losses} <= {*dir(losses)}
    assert {*kind.metrics} <= {*metrics.METRICS}
    assert {*kind.always_measured, *kind.host_metrics, *kind.lower_is_better} <= {*kind.metrics}
    assert {*kind.smoothed_losses} <= {chosen_loss(kind, loss) for loss in kind.losses}
    assert np.dtype(kind.target_dtype)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_has_the_functions_it_needs(name):
    kind = KINDS[name]
    assert (kind.row_classes is not None) == kind.has_classes
    assert bool(kind.target_features) == kind.needs_targets
    # Words that are written are predicted by a softmax over a table, which has its own loss.
    assert (kind.element_losses is None) == (kind.writes is not None)
    assert (kind.predicted_targets is None) == (kind.writes is not None)


def test_smaller_is_better_of_errors_alone():
    smaller = {metric for kind in KINDS.values() for metric in kind.lower_is_better}
    assert smaller == {"perplexity", "mean_squared_error", "mean_absolute_error", "loss"}


def test_the_table_has_every_file_of_a_kind():
    modules = {kind.encode_targets.__module__ for kind in KINDS.values()}
    assert modules == {f"mtljax.kinds.{name}" for name in KINDS}
