import jax
import numpy as np

from mtljax import linear
from mtljax.linear.path import compiled_fit
from tests.linear.problems import NUM_TASKS, sample


def test_a_path_is_its_fits_and_validation_chooses():
    data = sample()
    half = np.arange(len(data.task)) % 2 == 0
    omegas = [linear.l1(float(strength)) for strength in (30.0, 3.0, 0.3, 0.001)]
    arguments = [array[half] for array in (data.features, data.targets, data.task)]
    with jax.enable_x64(True):
        path = linear.fit_path(*arguments, omegas, num_tasks=NUM_TASKS)
        alone = compiled_fit(*arguments, num_tasks=NUM_TASKS, omega=omegas[1], start=None)
        np.testing.assert_allclose(path[1].objective, alone.objective, rtol=2e-7)
        counts = [int(np.count_nonzero(solution.weights)) for solution in path]
        assert counts[0] == 0 and counts == sorted(counts)
        held = [array[~half] for array in (data.features, data.targets, data.task)]
        accuracies = []
        for solution in path:
            products = np.sum(held[0] * np.asarray(solution.weights)[held[2]], 1)
            predicted = products + np.asarray(solution.intercept)[held[2]] > 0
            accuracies.append(np.mean(predicted == held[1]))
        best = linear.best_of(path, *held)
        assert best == int(np.argmax(accuracies)) and accuracies[best] > accuracies[0]
        # The last one is the first where least is wanted.
        assert linear.best_of(path, *held, measure=lambda s, t: -float(abs(s).sum())) == 0
