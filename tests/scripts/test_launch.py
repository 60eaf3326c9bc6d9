"""`scripts/launch/local`: processes that are started, stopped and told together."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).resolve().parents[2] / "scripts" / "launch"


def launch(count, code, **options):
    command = [sys.executable, str(LAUNCH / "local"), str(count), sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_each_knows_its_place():
    names = ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES", "JAX_COORDINATOR_ADDRESS", "JAX_PLATFORMS")
    line = f"' '.join(os.environ[name] for name in {names}) + chr(10)"
    process = launch(3, f"import os; os.write(1, ({line}).encode())")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = sorted(line.split() for line in out.splitlines())
    assert [line[:2] for line in lines] == [["0", "3"], ["1", "3"], ["2", "3"]]
    ((address, platforms),) = {tuple(line[2:]) for line in lines}
    assert address.startswith("localhost:") and platforms == "cpu"


@pytest.mark.parametrize(("end", "code"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_when_one_fails_the_others_are_stopped(end, code, monkeypatch):
    monkeypatch.setenv("MTLJAX_GRACE", "0.2")
    text = f"import os, sys, time; os.environ['JAX_PROCESS_ID'] == '1' or time.sleep(60); {end}"
    process = launch(2, text)
    process.communicate(timeout=30)
    assert process.returncode == code


def test_signals_are_passed_on():
    text = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "os.write(1, b'ready\\n')\n"
        "time.sleep(60)"
    )
    process = launch(2, text)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize("arguments", [[], ["0", "true"], ["x", "true"], ["2"]])
def test_wrong_arguments(arguments):
    command = [sys.executable, str(LAUNCH / "local"), *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.startswith("usage: ")


def test_the_shell_scripts_are_well_formed():
    for name in ("slurm", "tpu-vm"):
        subprocess.run(["bash", "-n", str(LAUNCH / name)], check=True)
    service, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    pods = job["spec"]["template"]["spec"]
    names = {one["name"]: one.get("value") for one in pods["containers"][0]["env"]}
    assert names["JAX_NUM_PROCESSES"] == str(job["spec"]["completions"])
    host = f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert names["JAX_COORDINATOR_ADDRESS"].startswith(host)
    assert pods["subdomain"] == service["metadata"]["name"]
