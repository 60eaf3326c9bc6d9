import io

from rich.console import Console

from mtljax.training.reporting.progress import format_value, line_of, make_reporter, results_table

VALUES = {
    "loss/a": 0.6931,
    "loss/b": None,
    "weight/a": 0.25,
    "tokens_per_second": 40123.4,
    "seconds_left": 61.0,
}


def shown(steps, *, terminal):
    out = io.StringIO()
    reporter = make_reporter(Console(file=out, force_terminal=terminal, width=100), 10, 0)
    for step in steps:
        reporter.step(step, VALUES)
    reporter.say("step 4  [bold]validation")
    reporter.close()
    return out.getvalue()


def test_the_bar_of_a_terminal():
    text = shown([4], terminal=True)
    for part in ("4/10", "━", "a 0.693 x0.25", "b -", "40,123 tokens/s"):
        assert part in text
    assert "step 4  [bold]validation" in text
    assert "-:--:--" in text or "0:0" in text  # the time left, once it can be told


def test_lines_of_a_file():
    # A line that follows at once is left out, but never the last one.
    assert shown([3, 4, 10], terminal=False).splitlines() == [
        "step 3/10  a 0.693 x0.25  b -  40,123 tokens/s  61 s left",
        "step 10/10  a 0.693 x0.25  b -  40,123 tokens/s  61 s left",
        "step 4  [bold]validation",
    ]


def test_no_speed_before_it_is_known():
    out = io.StringIO()
    reporter = make_reporter(Console(file=out), 10, 0)
    reporter.step(10, {**VALUES, "seconds_left": float("nan")})
    assert out.getvalue() == "step 10/10  a 0.693 x0.25  b -\n"


def test_values():
    assert line_of({"penalty": 1.0, "loss/a": 2.0}) == "a 2.000"
    assert format_value("accuracy", 0.7871) == "78.7 %"
    assert format_value("perplexity", 139.42) == "139.4"
    assert format_value("perplexity", None) == "-"


def test_table_of_results():
    summary = {
        "best_step": 7,
        "tasks": {
            "a": {"validation": {"accuracy": 0.5, "loss": 1.0}, "test": {"accuracy": 0.25}},
            "b": {"validation": {"loss": 2.0}, "test": {}},
        },
    }
    out = io.StringIO()
    Console(file=out, width=80).print(results_table(summary))
    rows = [line.strip("│ ").split("│") for line in out.getvalue().splitlines() if "│" in line]
    assert "best checkpoint: step 7" in out.getvalue()
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["a", "accuracy", "50.0 %", "25.0 %"],
        ["b", "loss", "2", "-"],
    ]
