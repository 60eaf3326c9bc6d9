def test_bad_input(refused, tiny_run, tmp_path):
    run = tmp_path / "run"
    (tmp_path / "file").touch()
    line = refused("extend", tiny_run, "--tasks", tmp_path / "no", "--run-dir", tmp_path / "file/x")
    assert line.startswith(f"run directory {tmp_path}/file/x: Not a directory")  # before its work
    assert "name a run first" in refused("extend", "--run-dir", run)
    assert "name either tasks" in refused("extend", tiny_run, "--run-dir", run)
    tasks = tiny_run.parent / "tasks.yaml"
    line = refused("extend", tiny_run, "--tasks", tasks, "--run-dir", run)
    assert line.startswith(f"task 'sentiment': is in {tiny_run} and in the tasks to be added")
    assert "no run there" in refused("extend", tmp_path, "--run-dir", run)
    both = refused("extend", tiny_run, "--tasks", tasks, "--best-of-each", "--run-dir", run)
    assert both == "--best-of-each: not with --tasks or --retrain"
    line = refused("extend", tiny_run, "--best-of-each", "--run-dir", run)
    assert line.startswith(f"{tiny_run}: its checkpoints do not say how good each task was")
    assert not run.exists()


def test_options_are_those_of_the_run(tiny_run):
    from mtljax.cli.extend import read_options

    arguments = [str(tiny_run), "--run-dir", "new", "--no-freeze", "--optimizer.clip-norm", "2"]
    options = read_options(arguments)
    assert options.config.encoder.features == 8 and options.config.steps == 4
    assert options.config.optimizer.clip_norm == 2.0 and not options.freeze
