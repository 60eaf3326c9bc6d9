"""What every test runs under: the CPU, one device, no user configuration."""

import contextlib
import gc
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.eight_devices import eight_devices

ROOT = Path(__file__).resolve().parent.parent
HALF_WRITTEN = "Error reading persistent compilation cache entry"

# JAX and its libraries read these when they are imported, which is after this file.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TQDM_DISABLE", "1")  # bars of tensorflow-datasets
os.environ["MTLJAX_CACHE_DIR"] = "off"
# The programs are tiny and run a few times: nearly all the time would go into optimizing them.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("untimed", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("untimed")
if (ROOT.parent / "shared/data/tfds").is_dir():
    os.environ.setdefault("MTLJAX_DATA_DIR", str(ROOT.parent / "shared/data/tfds"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option of `scripts/test` that leaves most cases of a test to `--all`."""
    about = "the most cases of a parametrized test that are run, from its first to its last; 0: all"
    parser.addoption("--cases", type=int, default=0, help=about)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what `--cases` says: the same cases in every process and every time."""
    most: int = config.getoption("--cases", default=0) or 0
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left = {
        item
        for cases in tests.values()
        if 0 < most < len(cases)
        for item in cases
        if item not in _spread(cases, most)
    }
    if left:
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]


def _spread(cases: list[pytest.Item], count: int) -> list[pytest.Item]:
    """So many of the cases, the first and the last among them where there are two."""
    return [cases[i * (len(cases) - 1) // max(count - 1, 1)] for i in range(count)]


def pytest_configure(config: pytest.Config) -> None:
    """Keeps what XLA compiles, for the other processes of a run of the tests and for the next run.

    `pytest --cache-clear` forgets it.
    """
    if getattr(config, "cache", None) is None:  # with -p no:cacheprovider
        return
    options = {
        "jax_compilation_cache_dir": str(config.cache.mkdir("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    os.environ |= {name.upper(): str(value) for name, value in options.items()}
    # The conftest of a folder that is named on the command line is read, and imports JAX, before.
    if jax := sys.modules.get("jax"):
        for name, value in options.items():
            jax.config.update(name, value)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spares the garbage collector what was imported: tracing makes it look through all of it."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session")
def on_eight_devices() -> Iterator[Callable[[str], str]]:
    """Runs Python code in another process, which has eight CPU devices; returns what it prints.

    The tests' own process keeps one device, as a user's laptop has: eight would share its threads.
    One process is for all tests: what the code changes in modules, it has to restore.
    """
    with eight_devices(ROOT, ["error", f"ignore:{HALF_WRITTEN}"]) as run:
        yield run


TINY_TASKS = """\
sources:
  first_reviews: {{{}}}
  first_casing: {{{}}}
tasks:
  sentiment:
    {{dataset: first_reviews, kind: classification, inputs: text, targets: label, loss: sigmoid}}
  casing: {{dataset: first_casing, kind: tagging, inputs: tokens, targets: tags}}
  writer: {{dataset: first_reviews, kind: language_model, inputs: text}}
  stars: {{dataset: first_reviews, kind: regression, inputs: text, targets: rating}}
"""

TINY_OPTIONS = """\
--preset small --steps 4 --evaluate-every 2 --log-every 1 --batch.tokens 512 --batch.row-length 32
--tokenizer.num-words 500 --tokenizer.affix-buckets 64 --encoder.embedding 8 --encoder.features 8
--heads.tag-hidden 0 --heads.negatives 0
""".split()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a small finished run with a task of every kind; not to be changed.

    Trained by the command, whose output is beside it in `stdout.txt` and `stderr.txt`, as is the
    `tasks.yaml` it was given.
    """
    from mtljax.cli import main
    from mtljax.data.catalogue.tagged_text import TAGGED_TEXTS
    from tests.first_texts import splits, write_first

    base = tmp_path_factory.mktemp("tiny")
    write_first("amazon_sentiment", base / "r")
    write_first("movie_casepunct", base / "c")
    # Its texts and tags relate as those of the set that they are from.
    TAGGED_TEXTS["first_casing"] = TAGGED_TEXTS["movie_casepunct"]
    (base / "tasks.yaml").write_text(TINY_TASKS.format(splits("r"), splits("c")))
    arguments = ["train", "--tasks", str(base / "tasks.yaml"), "--run-dir", str(base / "run")]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, *TINY_OPTIONS])
    (base / "stdout.txt").write_text(out.getvalue())
    (base / "stderr.txt").write_text(err.getvalue())
    assert code == 0, err.getvalue()
    return base / "run"


@pytest.fixture(scope="session")
def loaded_tiny_run(tiny_run: Path) -> Any:
    """`tiny_run`, loaded: its compiled functions serve all tests."""
    from mtljax.inference import load_run

    return load_run(tiny_run)


@pytest.fixture
def tiny_options() -> list[str]:
    """The options of `tiny_run`, besides `--tasks` and `--run-dir`."""
    return list(TINY_OPTIONS)
