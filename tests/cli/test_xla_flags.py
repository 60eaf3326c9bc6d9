"""`--parallel.xla-flags`."""

import os

import pytest

from mtljax.cli.xla_flags import set_xla_flags
from mtljax.errors import UserError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_min_max=false")
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--xla_tpu_one=1")


def test_flags_go_into_the_environment_once():
    flags = ("xla_cpu_enable_fast_min_max=true", "xla_tpu_two=-1", "xla_tpu_one=1")
    for _ in range(2):
        set_xla_flags(flags)
        before = "--xla_cpu_enable_fast_min_max=false"
        assert os.environ["XLA_FLAGS"] == f"{before} --xla_cpu_enable_fast_min_max=true"
        assert os.environ["LIBTPU_INIT_ARGS"] == "--xla_tpu_one=1 --xla_tpu_two=-1"


def test_a_flag_that_there_is_not_starts_nothing(refused, tmp_path):
    arguments = ["train", "--run-dir", tmp_path / "run", "--parallel.xla-flags", "xla_nosuch=1"]
    assert "parallel.xla_flags: this XLA has no flag xla_nosuch=1" in refused(*arguments)
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_min_max=false"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flag", ["--xla_a=1", "a=1", "xla_a= 1", "xla_a=--b", "xla_a=1 --b", ""])
def test_what_is_no_flag(flag):
    with pytest.raises(UserError, match="is no flag; it must be 'xla_NAME=VALUE'"):
        set_xla_flags((flag,))


def test_a_file_of_flags(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "flags.txt")
    with pytest.raises(UserError, match="names a file"):
        set_xla_flags(("xla_a=1",))
