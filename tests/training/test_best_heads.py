"""Heads of several steps, for an encoder that did not move."""

import pytest

from mtljax.errors import UserError
from mtljax.training.best_heads import best_heads


def test_heads_of_several_steps_fit_no_private_parameters_of_one(tmp_path):
    with pytest.raises(UserError, match="private parameters, which are those of one step"):
        best_heads(tmp_path, {"shared": {}, "private": {}, "heads": {}}, print)
