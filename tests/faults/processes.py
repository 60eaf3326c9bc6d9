"""Runs of several processes, forked from one that has imported everything, with faults in them.

A request is a line of JSON on stdin: the arguments of `mtljax`, how many processes, their devices,
where their output goes, the faults, and, where they are started apart from each other, after how
many seconds each is. The answer is the list of exit codes.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
import traceback


def main():
    # Imports cost more than all the steps of these runs; they start no threads, unlike backends.
    import grain  # noqa: F401
    import jax  # noqa: F401
    import jax.experimental.multihost_utils  # noqa: F401
    from jax._src import cache_key

    import mtljax.cli.train
    import mtljax.training.loop  # noqa: F401

    mtljax.cli.train._draw = lambda directory: "curves: not drawn"
    # The first process alone writes what it has compiled, under a name that says which devices are
    # its own; the others find it under this one.
    cache_key._hash_accelerator_config = lambda hashed, devices: None
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


def run(request):
    """Start the processes and wait for all; after `timeout` seconds they are killed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    running = {}
    for index in range(request["processes"]):
        pid = os.fork()
        if not pid:
            work(request, index, address)
        running[pid] = index
    codes, until = [None] * len(running), time.monotonic() + request["timeout"]
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            codes[running.pop(pid)] = os.waitstatus_to_exitcode(status)
            continue
        if time.monotonic() > until:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return codes


def work(request, index, address):
    """One process; never returns."""
    code = 99
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "out"), (2, "err")):
            place = f"{request['output']}/{name}{index}.txt"
            os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
        import jax

        jax.config.update("jax_num_cpu_devices", request["devices"])
        if request["apart"] is not None:
            time.sleep(request["apart"][index])
        elif request["processes"] > 1:
            os.environ["JAX_COORDINATOR_ADDRESS"] = address
            os.environ["JAX_NUM_PROCESSES"] = str(request["processes"])
            os.environ["JAX_PROCESS_ID"] = str(index)
        inject([one for one in request["faults"] if one["process"] in (index, "all")])
        from mtljax.cli import main

        code = main([*request["arguments"], *request["own"].get(str(index), [])])
        # As at the end of Python, where JAX waits for the others.
        jax.distributed.shutdown()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def inject(faults):
    """Have them happen when the batch of their step is asked for."""
    from mtljax.training.inputs.device_prefetch import DevicePrefetch

    plain = DevicePrefetch.__next__

    def after(feed):
        step = feed.get_state()["next_index"] + 1
        for fault in faults:
            if fault["do"] == "pause":
                time.sleep(fault["seconds"])
            elif step == fault["step"]:
                DO[fault["do"]](fault)
        return plain(feed)

    if faults:
        DevicePrefetch.__next__ = after


def fill(fault):
    with open(fault["file"], "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


DO = {
    "kill": lambda fault: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda fault: os.kill(os.getpid(), signal.SIGTERM),
    "interrupt": lambda fault: os.kill(os.getpid(), signal.SIGINT),
    "fill": fill,
}


if __name__ == "__main__":
    main()
