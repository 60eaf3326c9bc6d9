import zlib

import numpy as np
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from mtljax import linear

TRAIN = [
    "A good book, a GOOD read!",
    "The book was bad; I read   it twice.",
    "Größe and naïve words, don't they?\n\nYes: words words",
    "",
    "good bad good bad x",
]
TEST = ["a good and unseen book book", "nothing-of-it", "Words!", ""]


def matrix(features: linear.SparseFeatures) -> scipy.sparse.csr_matrix:
    assert (np.diff(features.rows) >= 0).all()
    entries = features.values, (features.rows, features.columns)
    return scipy.sparse.csr_matrix(entries, features.shape)


@pytest.mark.parametrize(
    "settings, theirs",
    [
        ({}, TfidfVectorizer(ngram_range=(1, 2))),
        (
            {"min_texts": 2, "sublinear": True, "sizes": (1, 3)},
            TfidfVectorizer(min_df=2, sublinear_tf=True, ngram_range=(1, 3)),
        ),
        (
            {"unit": "characters", "sizes": (2, 4), "lower": False},
            TfidfVectorizer(analyzer="char", ngram_range=(2, 4), lowercase=False),
        ),
        ({"values": "counts", "sizes": (1, 1)}, CountVectorizer()),
    ],
)
def test_as_scikit_learn(settings, theirs):
    ngrams = linear.learn_ngrams(TRAIN, linear.NgramSettings(**settings))
    expected = theirs.fit_transform(TRAIN)
    assert list(ngrams.columns) == list(theirs.get_feature_names_out())
    for texts, reference in ((TRAIN, expected), (TEST, theirs.transform(TEST))):
        ours = matrix(linear.ngram_features(texts, ngrams, np.float64))
        np.testing.assert_allclose(ours.toarray(), reference.toarray(), rtol=1e-12)
    assert linear.ngram_features(TEST, ngrams).values.dtype == np.float32


def test_buckets():
    """Hashed n-grams are those of a vocabulary, those of one bucket added up."""
    plain = linear.NgramSettings(values="counts")
    words = linear.learn_ngrams(TRAIN, plain)
    hashed = linear.learn_ngrams(TRAIN, linear.NgramSettings(values="counts", buckets=7))
    counts = matrix(linear.ngram_features(TRAIN, words)).toarray()
    assert words.columns is not None and hashed.columns is None
    expected = np.zeros((len(TRAIN), 7))
    for gram, column in words.columns.items():
        expected[:, zlib.crc32(gram.encode()) % 7] += counts[:, column]
    ours = matrix(linear.ngram_features(TRAIN, hashed)).toarray()
    np.testing.assert_array_equal(ours, expected)
    weighted = linear.learn_ngrams(TRAIN, linear.NgramSettings(buckets=7))
    rarity = np.log((1 + len(TRAIN)) / (1 + (expected > 0).sum(0))) + 1
    np.testing.assert_allclose(weighted.rarity, rarity)


def test_words_and_characters_side_by_side():
    parts = []
    for settings in (
        linear.NgramSettings(),
        linear.NgramSettings(unit="characters", sizes=(3, 3)),
    ):
        ngrams = linear.learn_ngrams(TRAIN, settings)
        parts.append(linear.ngram_features(TEST, ngrams))
    both = matrix(linear.beside(parts)).toarray()
    np.testing.assert_array_equal(both, np.hstack([matrix(p).toarray() for p in parts]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sizes": (2, 1)}, "sizes"),
        ({"unit": "letters"}, "unit must be"),
        ({"values": "idf"}, "values must be"),
        ({"min_texts": 0}, "min_texts"),
        ({"buckets": 5, "min_texts": 2}, "buckets leave nothing out"),
    ],
)
def test_settings_that_make_no_sense_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        linear.NgramSettings(**change)


def test_nothing_to_learn():
    with pytest.raises(ValueError, match="no n-gram is in 3 of 5 texts"):
        linear.learn_ngrams(TRAIN, linear.NgramSettings(min_texts=3, sizes=(2, 2)))
    with pytest.raises(ValueError, match="as many samples"):
        linear.beside([])
