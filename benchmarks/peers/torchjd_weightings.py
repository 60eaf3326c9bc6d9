"""Times TorchJD's weightings for `weighting_cost.py`, in TorchJD's own environment.

Reads one JSON request a line, ``{"method", "matrix", "seconds"}`` with the path of a Jacobian
``[T, P]`` (float32, npy), answers one line: ``{"microseconds", "direction"}``,
``{"missing": true}`` or ``{"error": text}``.
TorchJD's methods take the Gramian where they can, else the Jacobian. Its scalarizers take the
losses; their weights are the derivatives of the scalar, so it is made and differentiated. The step
of the optimizer that moves learned weights is left out, in its favour.
"""

import json
import sys
import time

import numpy as np
import torch
from torchjd import aggregation as jd
from torchjd import scalarization as js

OTHER_FORM = {"stch"}  # the raw one only, ours by default that of the logarithms


def weighting(name, tasks):
    """TorchJD's class for one of our names, and what it reads."""
    by_gramian = {
        "equal": jd.MeanWeighting,
        "random": jd.RandomWeighting,
        "mgda": jd.MGDAWeighting,
        "dual_proj": jd.DualProjWeighting,
        "upgrad": jd.UPGradWeighting,
        "cagrad": lambda: jd.CAGradWeighting(c=0.5),
        "fairgrad": lambda: jd.FairGradWeighting(alpha=1.0),
        "imtl_g": jd.IMTLGWeighting,
        "aligned_mtl": jd.AlignedMTLWeighting,
        "pcgrad": jd.PCGradWeighting,
        "gradvac": jd.GradVacWeighting,
        "krum": lambda: jd.KrumWeighting(1),
        "pcd": jd.PCDWeighting,
        # Of two independent batches, which are here the same one.
        "modo": jd.MoDoWeighting,
        "sdmgrad": jd.SDMGradWeighting,
    }
    by_jacobian = {
        "nash_mtl": lambda: jd.NashMTL(tasks),
        "config": jd.ConFIG,
        "graddrop": jd.GradDrop,
        "trimmed_mean": lambda: jd.TrimmedMean(1),
        "excess_mtl": jd.ExcessMTL,
    }
    ones = torch.ones(tasks)
    by_losses = {
        "fixed": lambda: js.Constant(ones),
        "uncertainty": lambda: js.UW(tasks),
        "imtl_l": lambda: js.IMTLL(tasks),
        "dwa": js.DWA,
        "geometric": js.GeometricMean,
        "stch": lambda: js.STCH(1.0),
        "famo": lambda: js.FAMO(tasks),
        "pbi": lambda: js.PBI(5.0, ones),
        "cosmos": lambda: js.COSMOS(1.0, ones / tasks),
    }
    if name in by_gramian:
        return by_gramian[name](), "gramian"
    if name in by_jacobian:
        return by_jacobian[name](), "jacobian"
    if name in by_losses:
        return by_losses[name](), "losses"
    return None, ""


def derivatives(method, losses):
    """Weights of a scalarizer, which reads the losses after the step as well if it is FAMO."""
    for parameter in method.parameters():
        parameter.grad = None
    leaf = losses.clone().requires_grad_()
    method(leaf).backward()
    if isinstance(method, js.FAMO):
        method.update(0.9 * losses)
    return leaf.grad


def answer(request):
    matrix = torch.from_numpy(np.load(request["matrix"]))
    method, reads = weighting(request["method"], len(matrix))
    if method is None:
        return {"missing": True}
    losses = torch.linspace(0.5, 2.0, len(matrix))
    given = {"gramian": matrix @ matrix.T, "jacobian": matrix, "losses": losses}[reads]

    def call(method):
        return derivatives(method, given) if reads == "losses" else method(given)

    with torch.set_grad_enabled(reads == "losses"):
        # A fresh one, for the answer of the first call.
        first, _ = weighting(request["method"], len(matrix))
        out = call(first).detach()
        direction = (out if reads == "jacobian" else out @ matrix).numpy()
        times = []
        until = time.perf_counter() + request["seconds"]
        while time.perf_counter() < until or len(times) < 5:
            began = time.perf_counter()
            call(method)
            times.append(time.perf_counter() - began)
    comparable = request["method"] not in OTHER_FORM
    return {
        "microseconds": float(np.median(times)) * 1e6,
        "direction": direction.tolist() if comparable else None,
    }


torch.set_num_threads(1)
print(json.dumps({"torchjd": "0.18.0", "torch": torch.__version__}), flush=True)
for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:  # the peer's failures are part of what is measured
        reply = {"error": f"{type(error).__name__}: {error}"[:200]}
    print(json.dumps(reply), flush=True)
