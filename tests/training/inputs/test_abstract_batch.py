import jax

from mtljax.step import Extra
from mtljax.training.inputs.abstract_batch import abstract_batch, abstract_extra
from mtljax.training.inputs.aligned_streams import AlignedStreams


def shapes(tree):
    return jax.tree.map(lambda leaf: (tuple(leaf.shape), leaf.dtype), tree)


def test_the_shapes_of_a_real_batch(make, plain, tasks):
    model, data = make(plain, tuple(tasks.values()))
    signals = frozenset({"cross_gramian", "validation_losses"})
    streams = AlignedStreams(data, plain, signals)
    batch, extra = next(streams)
    assert shapes(abstract_batch(data.layout)) == shapes(batch)
    assert shapes(abstract_extra(data.layout, signals)) == shapes(extra)
    streams.close()


def test_other_rows_and_no_further_batches(make, plain, tasks):
    _, data = make(plain, (tasks["label"],))
    (name,) = data.layout.shapes
    assert abstract_batch(data.layout, {name: 5})[name]["tokens"].shape == (5, 12)
    assert abstract_extra(data.layout, frozenset({"losses"})) == Extra()
