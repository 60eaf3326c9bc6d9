import re

import numpy as np
import pytest

from mtljax.inference.run_data import run_data
from mtljax.studies import write_run_page
from mtljax.studies.split_answers import Classified, Tagged, split_answers
from mtljax.training.persistence.run_directory import RunFiles


@pytest.fixture(scope="module")
def answers(loaded_tiny_run):
    run = loaded_tiny_run
    files = RunFiles(run.config, run.tasks, run.tokenizer, run.layout)
    return split_answers(run, run_data(run.directory, files), "validation")


def test_answers_have_the_metrics_of_the_evaluation(loaded_tiny_run, answers):
    values = loaded_tiny_run.evaluate("validation")
    assert answers.keys() == {"sentiment", "casing"}
    sentiment, casing = answers["sentiment"], answers["casing"]
    assert isinstance(sentiment, Classified) and isinstance(casing, Tagged)
    right = np.mean(sentiment.answers == sentiment.targets)
    np.testing.assert_allclose(right, values["sentiment"]["accuracy"], rtol=1e-6)
    targets, tags = np.concatenate(casing.targets), np.concatenate(casing.answers)
    right = np.mean((targets == tags)[targets >= 0])
    np.testing.assert_allclose(right, values["casing"]["accuracy"], rtol=1e-6)


def test_the_page(loaded_tiny_run, answers, tmp_path):
    page = write_run_page(loaded_tiny_run, tmp_path / "page.html").read_text(encoding="utf-8")
    sentiment = answers["sentiment"]
    wrong = int(np.sum(sentiment.answers != sentiment.targets))
    assert f"<h2>sentiment, {len(sentiment.texts):,} texts of validation</h2>" in page
    assert f"Wrong answers, {wrong:,} in all" in page
    for pattern in ("Calibration", "Confusions", "Texts with the most wrong tags", "Results"):
        assert pattern in page
    # Nothing from elsewhere, no scripts, and texts cannot end an element.
    assert not re.search(r"(src|href)=\"(?!data:)|<script|url\(", page)
    shown = re.sub(r"<[^>]*>", "", page.partition("<body>")[2])
    assert "<" not in shown and ">" not in shown
