def test_bad_input(refused, tiny_run, tmp_path):
    run = tmp_path / "run"
    assert "name two at least, got 1" in refused("merge", tiny_run, "--run-dir", run)
    assert "named twice" in refused("merge", tiny_run, tiny_run, "--run-dir", run)
    assert "'soup'" in refused("merge", tiny_run, "--run-dir", run, "--method", "soup")
    other = tmp_path / "other"
    assert f"{other}: no run there" in refused("merge", tiny_run, other, "--run-dir", run)
    assert not run.exists()
