import json
import math
import subprocess
import sys

from mtljax.json_values import nan_to_none


def test_numbers_that_json_lacks_become_none():
    assert nan_to_none({"x": [float("nan"), {"y": (1.5,)}]}) == {"x": [None, {"y": [1.5]}]}
    value = {"a": [math.inf, -math.inf, 1, True, None, "nan"], "b": ()}
    plain = nan_to_none(value)
    assert plain == {"a": [None, None, 1, True, None, "nan"], "b": []}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_the_command_line_imports_it_without_jax():
    code = "import sys, mtljax.cli.options; print('jax' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
