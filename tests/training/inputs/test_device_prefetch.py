import jax
import numpy as np

from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.inputs.device_prefetch import DevicePrefetch


def test_batches_are_on_the_device_and_the_position_is_that_of_the_step(make, plain, tasks):
    _, data = make(plain, (tasks["label"], tasks["number"]))
    signals = frozenset({"cross_gramian"})
    streams = AlignedStreams(data, plain, signals)
    batches = DevicePrefetch(AlignedStreams(data, plain, signals), ahead=2)
    for number in range(3):
        assert batches.get_state() == {"next_index": number}
        (batch, extra), fed = next(streams), next(batches)
        batches.refill()  # what lies ready is no part of the position
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((fed.batch, fed.extra)))
        jax.tree.map(np.testing.assert_array_equal, (fed.batch, fed.extra), (batch, extra))
        segments = [rows["segments"] for rows in batch.values()]
        assert fed.tokens == sum((rows > 0).sum() for rows in segments)
        assert fed.positions == sum(rows.size for rows in segments)
        assert fed.rows == tuple(map(len, segments))
    state, expected = batches.get_state(), next(batches)
    again = DevicePrefetch(AlignedStreams(data, plain, signals))
    next(again)
    again.set_state(state)
    jax.tree.map(np.testing.assert_array_equal, next(again).batch, expected.batch)
    for opened in (streams, batches, again):
        opened.close()
