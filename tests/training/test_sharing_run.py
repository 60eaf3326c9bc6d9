"""Runs whose tasks share by another structure than a whole encoder."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from mtljax.errors import UserError
from mtljax.export import to_huggingface
from mtljax.inference import Run, load_run
from mtljax.modules import shared_and_private
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures import encoder_variables, merged_parameters, whole_encoder
from mtljax.modules.structures.towers import with_tower
from mtljax.optim import MultiObjectiveState
from mtljax.pretrained import load
from mtljax.step import TrainState, train_step
from mtljax.training import train
from mtljax.training.check_config import check_parameters
from mtljax.training.inputs.abstract_batch import abstract_batch
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.method import make_method
from mtljax.training.model import initial_params
from mtljax.training.objectives.device_layout import ONE_PROGRAM
from mtljax.training.objectives.model_functions import encoders, examples, heads
from mtljax.training.objectives.model_objectives import model_objectives
from mtljax.training.parameter_rates import freezes_encoder
from mtljax.training.persistence.checkpoints import Checkpoints
from mtljax.training.pretrained_start import resolved, start_from_pretrained
from mtljax.training.reporting.sharing_note import sharing_note
from mtljax.training.step import step_options
from tests.pretrained.test_families import GOLDEN
from tests.tiny_models import random_params

LORA = SharingConfig("lora", parts="both", rank=2, freeze="yes")


def with_sharing(config, sharing, **settings):
    encoder = EncoderConfig(embedding=6, features=8, dropout=0.2)
    return dataclasses.replace(config, encoder=encoder, sharing=sharing, **settings)


def test_a_run_resumes_to_the_last_bit_and_is_used(
    tmp_path, plain, tasks, tiny, drawn, monkeypatch
):
    """Two of the tasks read the same texts, and are encoded apart."""
    chosen = (tasks["label"], tasks["number"], tasks["next"])
    config = with_sharing(plain, LORA, weighting="mgda", steps=4, evaluate_every=2)
    whole = train(config, chosen, tmp_path / "whole")
    save = Checkpoints.save

    def cut_off(self, step, *args):
        save(self, step, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(config, chosen, tmp_path / "cut")
    resumed = train(config, chosen, tmp_path / "cut")
    assert resumed["tasks"] == whole["tasks"]
    run, other = load_run(tmp_path / "whole"), load_run(tmp_path / "cut")
    jax.tree.map(np.testing.assert_array_equal, run.params, other.params)

    assert [len(group.tasks) for group in run.layout.groups] == [1, 1, 1]
    assert run.params["private"].keys() == {"label", "number", "next"}
    (answers,) = run.predict(["w1 w2 w3"])
    assert answers.keys() == {"label", "number", "next"}
    values = run.evaluate("test")["label"]
    for metric, value in whole["tasks"]["label"]["test"].items():
        np.testing.assert_allclose(values[metric], value, 1e-5)


@pytest.mark.parametrize("parts", ["shared", "both"])
def test_a_frozen_encoder_has_neither_gradients_nor_moments(parts, make, plain, tasks):
    chosen = (tasks["label"], tasks["tags"])
    config = with_sharing(plain, dataclasses.replace(LORA, parts=parts))
    model, data = make(config, chosen)
    shapes = jax.eval_shape(lambda: initial_params(model))
    trained = {**shapes, "shared": {"sharing": shapes["shared"]["sharing"]}}
    options = step_options(config, model)
    method = make_method(dataclasses.replace(config, weighting="upgrad"), 2)
    step = train_step(model_objectives(model), method, optax.adam(1e-3), options)
    batch = abstract_batch(data.layout)
    state = jax.eval_shape(step.init, shapes, batch)
    moments = state.optimizer.optimizer[0].mu

    def leaves(tree):
        pairs = jax.tree.leaves_with_path(tree)
        return {jax.tree_util.keystr(path): leaf.shape for path, leaf in pairs}

    assert leaves(moments) == leaves(trained)
    # What the tasks' rows are of: the parameters that they have in common, and no others.
    seen = []

    def look(objectives):
        original = objectives.task_gradients

        def task_gradients(*args):
            seen.append(original(*args))
            return seen[-1]

        return objectives._replace(
            task_gradients=task_gradients,
            with_frozen=lambda frozen: (
                look(objectives.with_frozen(frozen)) if objectives.with_frozen else None
            ),
        )

    step = train_step(look(model_objectives(model)), method, optax.adam(1e-3), options)
    jax.eval_shape(step.update, state, batch)
    rows = {"sharing": shapes["shared"]["sharing"]}
    assert leaves(seen[-1].shared) == {path: (2, *s) for path, s in leaves(rows).items()}
    note = sharing_note(config, model)
    assert "(frozen)" in note and ("private" in note) == (parts == "both")


def test_what_is_told_in_one_line(make, plain, tasks):
    chosen = (tasks["label"], tasks["tags"])
    with pytest.raises(UserError, match=r"^sharing\.matrices 'qvk': found in the path of no matr"):
        make(with_sharing(plain, SharingConfig("lora", matrices="qvk")), chosen)
    private = dataclasses.replace(LORA, parts="private")
    config = with_sharing(plain, private, weighting="upgrad")
    model, _ = make(config, chosen)
    with pytest.raises(UserError, match=r"^sharing\.freeze: frozen: all shared parameters are"):
        check_parameters(config, model, make_method(config, 2))
    # Rates of input groups may read gradients where the weighting reads none.
    learned = dataclasses.replace(config.mixture, schedule="doge")
    config = dataclasses.replace(config, weighting="equal", mixture=learned)
    with pytest.raises(UserError, match=r"^sharing\.freeze: frozen: all shared parameters are"):
        check_parameters(config, model, make_method(config, 2))
    frozen = dataclasses.replace(config.optimizer, frozen=("^private/",))
    config = with_sharing(plain, dataclasses.replace(LORA, freeze="no"), optimizer=frozen)
    with pytest.raises(UserError, match=r"^optimizer\.frozen: private parameters of the encoder"):
        check_parameters(config, model, make_method(config, 2))


def test_the_entropy_of_selectors_is_in_the_objective(make, plain, tasks):
    chosen = (tasks["label"], tasks["tags"])
    sharing = SharingConfig("dselect_k", experts=4, chosen=3, width=2, entropy=0.3)
    model, _ = make(with_sharing(plain, sharing), chosen)
    params = random_params(model, 0.1)
    penalty = step_options(with_sharing(plain, sharing), model).penalty
    assert penalty is not None
    value, gradient = jax.jit(jax.value_and_grad(penalty))(params)
    assert 0 < value <= 0.3 * np.log(4)
    for name in ("label", "tags"):
        own = gradient["heads"][name]["sharing"]["selectors"]
        assert np.all(own["z"] != 0) and not np.any(own["logits"])
    off = dataclasses.replace(sharing, entropy=0.0)
    assert step_options(with_sharing(plain, off), model).penalty is None
    too_many = dataclasses.replace(sharing, chosen=5)
    with pytest.raises(UserError, match=r"^sharing\.chosen 5: more than the 4 experts"):
        make(with_sharing(plain, too_many), chosen)


def test_the_adversary_and_what_is_repeated_are_in_the_losses(make, plain, tasks):
    chosen = (tasks["label"], tasks["tags"])
    factors = SharingConfig("asp_mtl", adversary=0.3, orthogonality=0.2)
    config = with_sharing(plain, factors)
    none = dataclasses.replace(factors, adversary=0.0, orthogonality=0.0)
    (model, data), (other, _) = make(config, chosen), make(with_sharing(plain, none), chosen)
    params, (batch, _) = random_params(model), next(AlignedStreams(data, config, frozenset()))

    @jax.jit
    def run(params, batch):
        found = {}
        for group, (inputs, targets) in examples(model, ONE_PROGRAM, batch).items():
            ((task, of_task),) = targets.items()
            encode = encoders(model, ONE_PROGRAM)[group]
            features = encode(params["shared"], params["private"][task], inputs)
            with_and_without = [
                heads(m, ONE_PROGRAM)[task](params["heads"][task], features, of_task)
                for m in (model, other)
            ]
            found[task] = *with_and_without, features.hidden, inputs["segments"], of_task.weights
        return found

    for i, (task, found) in enumerate(sorted(run(params, batch).items())):
        loss, alone, hidden, segments, weights = map(np.asarray, found)
        rows = []
        for row, of_row in zip(hidden, segments, strict=True):
            texts = [row[of_row == n] for n in range(1, of_row.max() + 1)]
            means = [text[:, 16:].mean(0) for text in texts]
            adversary = [np.log(np.exp(mean).sum()) - mean[i] for mean in means]
            repeated = [np.sum((t[:, :8].T @ t[:, 8:16] / len(t)) ** 2) for t in texts]
            rows.append(np.mean(np.array(adversary) * 0.3 + np.array(repeated) * 0.2))
        expected = np.average(rows, weights=weights.sum(1))
        assert expected > 0.1
        np.testing.assert_allclose(loss - alone, expected, 1e-4, err_msg=task)


@pytest.mark.parametrize("structure", ["cross_stitch", "asp_mtl"])
def test_all_towers_begin_as_the_pretrained_encoder(structure, make, plain, tasks):
    directory, chosen = GOLDEN / "bert", (tasks["label"], tasks["tags"])
    encoder = EncoderConfig(pretrained=str(directory))
    sharing = SharingConfig(structure)
    config = resolved(dataclasses.replace(plain, encoder=encoder, sharing=sharing))
    model, data = make(config, chosen)
    params = jax.tree.map(jax.numpy.asarray, random_params(model))
    state = TrainState(jax.numpy.zeros((), int), params, None, MultiObjectiveState((), ()))
    params = start_from_pretrained(config, data.layout, state, lambda line: None).params
    expected, shared = load(directory).params, params["shared"]
    jax.tree.map(np.testing.assert_array_equal, whole_encoder(sharing, shared), expected)
    towers = shared["sharing"]["towers"] if structure == "cross_stitch" else params["private"]
    for task in ("label", "tags"):
        whole = with_tower(expected, towers[task])
        jax.tree.map(np.testing.assert_array_equal, whole, expected)


def test_heads_of_alike_tasks_are_one_function_but_of_levels(make, plain, tasks):
    """Where a head takes out what is of its task, it has to know which that is."""
    chosen = (tasks["label"], dataclasses.replace(tasks["label"], name="other"))
    for structure, alike in (("mmoe", True), ("cross_stitch", True), ("ple", False)):
        model, _ = make(with_sharing(plain, SharingConfig(structure, width=2)), chosen)
        one, two = heads(model, ONE_PROGRAM, alike=True).values()
        assert (one is two) == alike


@pytest.mark.parametrize(
    "sharing",
    [SharingConfig("lora", rank=2), SharingConfig("private_layers", shared_layers=1)],
)
def test_a_pretrained_encoder_with_a_structure_and_back(sharing, make, plain, tasks, tmp_path):
    """Of private layers, every task's begin as the pretrained ones."""
    directory, chosen = GOLDEN / "bert", (tasks["label"], tasks["tags"])
    encoder = EncoderConfig(pretrained=str(directory))
    config = resolved(dataclasses.replace(plain, encoder=encoder, sharing=sharing))
    model, data = make(config, chosen)
    params = jax.tree.map(jax.numpy.asarray, random_params(model))
    state = TrainState(jax.numpy.zeros((), int), params, None, MultiObjectiveState((), ()))
    state = start_from_pretrained(config, data.layout, state, lambda line: None)
    expected = load(directory).params
    for task in chosen:
        group = model.layout.group_of(task.name).name
        read = shared_and_private(model.network, state.params, group)
        variables = encoder_variables(sharing, read)["params"]
        jax.tree.map(np.testing.assert_array_equal, variables, expected)

    run = Run(tmp_path, config, chosen, data.tokenizer, data.layout, model, state.params, 1)
    private = sharing.structure == "private_layers"
    if private:
        with pytest.raises(UserError, match="gives each task an encoder of its own; --task"):
            to_huggingface(run, tmp_path / "out")
        return
    assert freezes_encoder(config)
    to_huggingface(run, tmp_path / "out")
    merged = merged_parameters(sharing, state.params["shared"])
    jax.tree.map(np.testing.assert_array_equal, load(tmp_path / "out").params, merged)
    kernels = [tree["transformer"]["layers"]["up"]["kernel"] for tree in (merged, expected)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1
