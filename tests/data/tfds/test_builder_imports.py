import importlib.util

import pytest

from mtljax.data.tfds.builder_imports import missing_packages
from mtljax.data.tfds.builders import find_builder


def absent(*packages):
    return [name for name in packages if importlib.util.find_spec(name) is None]


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("glue", ()),
        ("super_glue", ()),  # types of TensorFlow only
        ("multi_nli", ()),  # opens files through TensorFlow
        ("imdb_reviews", ()),
        ("wmt14_translate", ()),
        ("conll2003", ()),
        ("wiki40b", ("apache_beam", "tensorflow")),  # reads records of TensorFlow
        ("wiki_dialog", ("apache_beam",)),
        ("c4", ("apache_beam", "gcld3", "langdetect", "nltk", "tldextract")),
        ("xtreme_pos", ("conllu",)),  # by way of a builder that TFDS has for the format
        ("wsc273", ("bs4",)),
    ],
)
def test_what_builders_need(name, packages):
    assert missing_packages(find_builder(name)) == absent(*packages)
