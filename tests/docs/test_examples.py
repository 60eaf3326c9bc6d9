"""Every Python example of the documentation runs, here or in the tests of its part."""

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import mtljax
from mtljax.presets import Config, read_config
from mtljax.tasks import Task, parse_tasks

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {
    "docs/data.md": "tests/data/test_pages.py",
    "docs/generation.md": "tests/generation/test_page.py",
    "docs/gradients.md": "tests/gradients/test_page.py",
    "docs/parallel.md": "tests/parallel/test_page.py",
    "docs/tokenizers.md": "tests/data/test_pages.py",
    "docs/train_step.md": "tests/step/test_page.py",
}
NOT_RUN = {"docs/finetuning.md": "another library"}

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="a source distribution has no docs"
)


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(code: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    names = {} if names is None else names
    exec(compile(code, "<documentation>", "exec"), names)
    return names


def readme() -> int:
    (block,) = blocks("README.md")
    metrics = run(block)["metrics"]
    np.testing.assert_allclose(metrics.losses, [1.0, np.log(3)], rtol=1e-6)
    return 1


def own_code() -> int:
    examples = blocks("docs/own_code.md")
    names: dict[str, Any] = {}
    for block in examples[:2]:
        run(block, names)
    assert names["value"] == pytest.approx(np.log1p(np.exp(-2.0)))
    first, second = np.array([-2.0, -1.0]), np.array([4.0, 5.0])  # 2 (w - 1), 2 (w + 2)
    direction = np.asarray(names["direction"]["w"])
    assert first @ direction >= -1e-5 and second @ direction >= -1e-5 and direction.any()
    before = names["params"]["w"]
    for block in examples[2:]:
        run(block, names)
    assert names["params"]["w"].shape == (2,) and (names["params"]["w"] != before).all()
    return len(examples)


def relatedness() -> int:
    of_run, of_losses = blocks("docs/relatedness.md")
    names = ("sentiment", "casing", "stars")
    gramian = np.array([[1.0, -0.5, 0.6], [-0.5, 1.0, -0.4], [0.6, -0.4, 1.0]])
    rows = [
        {"step": step, "split": "train"}
        | {
            f"gramian/{a}/{b}": gramian[i, j]
            for i, a in enumerate(names)
            for j, b in enumerate(names)
        }
        | {f"loss/{name}": 1.0 for name in names}
        for step in range(1, 4)
    ]
    Path("runs/small-seed0").mkdir(parents=True)
    Path("runs/small-seed0/metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = run(of_run)["grouping"]
    assert found.labels[0] == found.labels[2] != found.labels[1]
    last = of_losses.rstrip().rpartition("\n")
    labels = run(last[0] + f"\nlabels = {last[2].partition('#')[0]}")["labels"]
    assert list(labels) == [0, 0, 1]
    return 2


def linear() -> int:
    joint, words = blocks("docs/linear.md")
    related = run(joint)["related"].correlation
    assert related[0, 1] > 0.8 and related[0, 2] < -0.8
    both = run(words)["both"]
    assert both is not None
    return 2


def from_python(monkeypatch: pytest.MonkeyPatch, loaded: Any) -> int:
    """These ask for runs of minutes: they are asked for in the same words, and not trained."""
    asked = []
    signature = inspect.signature(mtljax.train)

    def train(*arguments: Any, **options: Any) -> dict[str, Any]:
        bound = signature.bind(*arguments, **options).arguments
        asked.append((read_config(bound["config"]), parse_tasks(bound["tasks"], Path.cwd())))
        return {}

    monkeypatch.setattr(mtljax, "train", train, raising=False)
    monkeypatch.setattr(mtljax, "load_run", lambda path: loaded, raising=False)
    whole, settings, own = blocks("docs/runs.md")
    run(whole.replace("run.evaluate", "run.evaluate  # "))
    Path("runs/stars").mkdir(parents=True)
    Path("runs/stars/metrics.jsonl").touch()
    run(f"import mtljax\nimport rich.console\n{settings}")
    printer = run(own, {"mtljax": mtljax, "tasks": mtljax.presets.default_tasks("small")})[
        "Printer"
    ]
    printer(loaded).write(1, "train", {"loss/a": 1.0})  # a run as a writer gets it has a directory
    (preset_config, presets_tasks), (stars, (task,)), _ = asked
    assert isinstance(preset_config, Config) and isinstance(presets_tasks[0], Task)
    assert (stars.steps, stars.optimizer.learning_rate) == (300, 1e-3)
    assert (task.name, task.kind, task.targets) == ("stars", "regression", "stars")
    (tour,) = blocks("docs/tour.md")
    assert set(run(tour)["answer"]) >= {"sentiment", "stars"}
    (first, _) = blocks("docs/generation.md")
    generate = inspect.signature(loaded.generate)
    names = run(first.replace("run.generate", "calls.append  # ").split("run = ")[0])
    for line in re.findall(r"run\.generate\((.*)\)", first):
        eval(f"bind({line})", {"bind": generate.bind, "config": names["GenerationConfig"]()})
    return 5


def weighting() -> int:
    (block,) = blocks("docs/weighting.md")
    method = mtljax.weighting.mgda()
    task_grads = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    names = {"method": method, "state": method.init(2), "losses": jnp.ones(2)}
    names |= {"task_grads": task_grads, "G": task_grads @ task_grads.T}
    np.testing.assert_allclose(run(block, names)["direction"], [0.8, 0.4], rtol=1e-6)
    return 1


def pretrained() -> int:
    (block,) = blocks("docs/pretrained.md")
    golden = ROOT / "tests/pretrained/golden/bert"
    names = run(block.replace('"all-MiniLM-L6-v2"', repr(str(golden))))
    assert names["hidden"].shape[:2] == names["tokens"].shape
    return 1


def first_hour() -> int:
    (block,) = blocks("docs/first_hour.md")
    table = (ROOT / "docs/first_hour/feedback.csv").read_bytes()
    # As the page's `sed` has it.
    Path("feedback.csv").write_bytes(table.replace(b",Yes,", b",yes,").replace(b",No,", b",no,"))
    printed = re.search(r"^\[([\d. ]+)\] \[", (ROOT / "docs/first_hour.md").read_text(), re.M)
    assert printed is not None
    names = run(block)
    losses = [float(number) for number in printed[1].split()]
    np.testing.assert_allclose(names["metrics"].losses, losses, rtol=0.02)
    untrained = (names["losses"].sigmoid(jnp.zeros(1), jnp.ones(1))[0], 1.0)
    assert all(now < before / 3 for now, before in zip(losses, untrained, strict=True))
    return 1


def auto() -> int:
    (block,) = blocks("docs/auto.md")
    fields = "dataset: amazon_sentiment, kind: classification, inputs: text, targets: label"
    Path("tasks.yaml").write_text(f"tasks: {{a: {{{fields}}}}}")
    names = run(block)
    assert names["config"].seed == 3 and names["tasks"][0].name == "a" and names["reasons"]
    return 1


HERE: dict[str, tuple[Callable[[], int], int]] = {
    "README.md": (readme, 1),
    "docs/auto.md": (auto, 1),
    "docs/first_hour.md": (first_hour, 1),
    "docs/own_code.md": (own_code, 3),
    "docs/relatedness.md": (relatedness, 2),
    "docs/linear.md": (linear, 2),
    "docs/weighting.md": (weighting, 1),
    "docs/pretrained.md": (pretrained, 1),
}
OF_RUNS = {"docs/runs.md": 3, "docs/tour.md": 1, "docs/generation.md": 1}


@pytest.mark.parametrize("page", HERE)
def test_examples_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples, count = HERE[page]
    assert examples() == count


def test_examples_with_runs(tmp_path, monkeypatch, loaded_tiny_run):
    monkeypatch.chdir(tmp_path)
    assert from_python(monkeypatch, loaded_tiny_run) == sum(OF_RUNS.values())


def test_no_example_is_forgotten():
    files = [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]
    pages = [path.relative_to(ROOT).as_posix() for path in files]
    there = {page for page in pages if blocks(page)}
    assert there == HERE.keys() | OF_RUNS.keys() | ELSEWHERE.keys() | NOT_RUN.keys()
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")
