import ast
from pathlib import Path

import pytest
import tensorflow_datasets

from mtljax.data.tfds.builders import catalogue_names, find_builder
from mtljax.errors import UserError

ROOT = Path(tensorflow_datasets.__file__).parent
TEXT = ("text", "question_answering", "summarization", "translate", "text_simplification")


def exported():
    """The builder classes that the packages of text sets export, read off their source."""
    for part in TEXT:
        tree = ast.parse((ROOT / part / "__init__.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if not alias.name.endswith("Config") and alias.name[0].isupper():
                        yield node.module, alias.name


def test_every_set_of_text_resolves():
    import importlib

    names = catalogue_names()
    count = 0
    for module, name in exported():
        cls = getattr(importlib.import_module(module), name)
        if not hasattr(cls, "name"):  # neither a builder nor one by another way
            continue
        if cls.name in ("wmt_translate", "tfds"):  # abstract
            continue
        assert cls.name in names, cls
        assert find_builder(cls.name).name == cls.name
        count += 1
    assert count > 90
    assert {"imdb_reviews", "glue", "super_glue", "conll2003", "wmt14_translate"} <= names


@pytest.mark.parametrize("name", ["glue", "glue/sst2", "glue:2.0.0", "glue/sst2:2.0.0"])
def test_config_and_version_do_not_matter(name):
    assert find_builder(name).name == "glue"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gleu/sst2", "the TFDS catalogue has no 'gleu'; did you mean 'glue'"),
        ("", "has no ''"),
        ("a b", "has no 'a b'"),
        ("huggingface:x", "has no 'huggingface'"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(UserError, match=message):
        find_builder(name)
