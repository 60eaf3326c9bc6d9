import dataclasses
import json

import jax
import pytest

from mtljax.cli import main
from mtljax.errors import UserError
from mtljax.presets import PRESETS, preset
from mtljax.training import check_memory
from mtljax.training.check_memory import check_memory as check


def with_sizes(name, **parts):
    config = preset(name).config
    changed = {
        part: dataclasses.replace(getattr(config, part), **sizes) for part, sizes in parts.items()
    }
    return dataclasses.replace(config, **changed)


@pytest.mark.parametrize(
    ("name", "parts", "setting"),
    [
        ("linear", {"encoder": {"ngram_buckets": 2**30}}, "encoder.ngram_buckets"),
        ("small", {"encoder": {"layers": 1000, "features": 2**20}}, "encoder.layers"),
        ("base", {"encoder": {"feed_forward": 2**28}}, "encoder.layers"),
        ("small", {"tokenizer": {"affix_buckets": 2**30}}, "tokenizer.affix_buckets"),
        ("small", {"batch": {"ahead": 2**20, "tokens": 2**20}}, "batch.ahead"),
        ("small", {"batch": {"ahead": 10**6, "tokens": 64}}, "batch.ahead"),
        ("small", {"batch": {"workers": 1024}}, "batch.workers"),
        ("small", {"encoder": {"dense": 2**20}, "batch": {"tokens": 512}}, "encoder.dense"),
        ("small", {"gradients": {"strategy": "sketched", "sketch": 2**30}}, "gradients.sketch"),
        ("small", {"sharing": {"structure": "lora", "rank": 2**30}}, "sharing.rank"),
        ("small", {"sharing": {"structure": "mtl_lora", "ups": 2**30}}, "sharing.ups"),
        ("base", {"sharing": {"structure": "adapters", "width": 2**30}}, "sharing.width"),
        ("linear", {"sharing": {"structure": "film", "task_embedding": 2**30}}, "sharing.task"),
        ("linear", {"sharing": {"structure": "mmoe", "width": 2**30}}, "sharing.width"),
        (
            "small",
            {
                "sharing": {"structure": "cgc", "private_experts": 4096, "width": 512},
                "encoder": {"dense": 1024},
            },
            "sharing.private_experts",
        ),
        (
            "base",
            {
                "sharing": {"structure": "private_layers"},
                "encoder": {"layers": 8, "features": 4096},
            },
            "sharing.shared_layers",
        ),
        ("small", {"batch": {"tokens": 2**26}, "encoder": {"features": 4096}}, "batch.tokens"),
    ],
)
def test_sizes_that_no_memory_holds_are_named(monkeypatch, name, parts, setting):
    monkeypatch.setattr(check_memory, "memory", lambda: 3 * 2**30)
    with pytest.raises(UserError, match=rf"^{setting}.*: at least [\d,.]+ GiB .* there are 3.0"):
        check(with_sizes(name, **parts), 4)
    monkeypatch.setattr(check_memory, "memory", lambda: None)
    check(with_sizes(name, **parts), 4)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_into_what_they_need(monkeypatch, name):
    """The bound is below what the largest of them takes."""
    monkeypatch.setattr(check_memory, "memory", lambda: 64 * 2**30)
    check(preset(name).config, 2)


def test_memory_is_that_of_the_devices(monkeypatch):
    there = check_memory.memory()
    assert there is not None and 2**28 < there < 2**50

    class Device:
        def memory_stats(self):
            return {"bytes_limit": 2**34}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    assert check_memory.memory() == 2**36


def test_one_line_before_any_data_is_read(tmp_path, capsys):
    tasks = {
        "sources": {"s": {"path": "nowhere.jsonl"}},
        "tasks": {"t": {"dataset": "s", "kind": "language_model", "inputs": "text"}},
    }
    (tmp_path / "tasks.yaml").write_text(json.dumps(tasks))
    arguments = ["--tasks", str(tmp_path / "tasks.yaml"), "--run-dir", str(tmp_path / "run")]
    sizes = ["--preset", "small", "--encoder.features", "1000000", "--encoder.layers", "1000"]
    assert main(["train", *arguments, *sizes]) == 2
    line = capsys.readouterr().err
    assert line.startswith("mtljax train: encoder.layers and its widths: at least ")
    assert line.count("\n") == 1 and not (tmp_path / "run").exists()
