import jax
import numpy as np
import pytest

from mtljax.errors import UserError
from mtljax.training.inputs.aligned_streams import AlignedStreams

ALL = frozenset({"cross_gramian", "validation_losses"})


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_nothing_more_than_what_is_read(make, plain):
    _, data = make()
    batch, extra = next(AlignedStreams(data, plain, frozenset({"losses", "gramian"})))
    assert extra.second is None and extra.validation is None
    same(batch, next(data.training_batches(plain.seed)))


def test_streams_are_independent_and_go_on_together(make, plain, source):
    _, data = make()
    streams = AlignedStreams(data, plain, ALL)
    steps = [next(streams) for _ in range(4)]
    position = streams.get_state()
    following = next(streams)
    again = AlignedStreams(data, plain, ALL)
    again.set_state(position)
    same(next(again), following)
    for batch, extra in steps:
        for other in (extra.second, extra.validation):
            assert jax.tree.map(np.shape, other) == jax.tree.map(np.shape, batch)
            name = data.groups[0].name
            assert (other[name]["tokens"] != batch[name]["tokens"]).any()
    streams.close()
    again.close()


def test_validation_rows_are_those_of_the_split(make, plain, tasks):
    _, data = make(tasks=(tasks["number"],))
    streams = AlignedStreams(data, plain, ALL)
    name = data.groups[0].name
    known = {round(float(y), 5) for y in data.examples[name]["validation"].targets["number"]}
    for _ in range(3):
        _, extra = next(streams)
        rows = extra.validation[name]
        seen = rows["targets"]["number"][rows["weights"]["number"] > 0]
        assert {round(float(y), 5) for y in seen} <= known
    streams.close()


def test_validation_data_that_is_not_there(make, plain, source, monkeypatch):
    for rows in ([], None):
        if rows is None:
            monkeypatch.delitem(source.splits, "validation")
        else:
            monkeypatch.setitem(source.splits, "validation", rows)
        _, data = make()
        with pytest.raises(UserError, match="reads validation data, and label"):
            AlignedStreams(data, plain, frozenset({"validation_gradients"}))
