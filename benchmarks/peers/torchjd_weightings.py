"""Times TorchJD's weightings for `weighting_cost.py`, in TorchJD's own environment.

Reads one JSON request a line, ``{"method", "matrix", "seconds"}`` with the path of a Jacobian
``[T, P]`` (float32, npy), answers one line: ``{"microseconds", "direction"}``,
``{"missing": true}`` or ``{"error": text}``.
TorchJD's methods take the Gramian where they can, else the Jacobian.
"""

import json
import sys
import time

import numpy as np
import torch
from torchjd import aggregation as jd


def weighting(name, tasks):
    """TorchJD's class for one of our names, and whether it reads the Gramian."""
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
    }
    by_jacobian = {
        "nash_mtl": lambda: jd.NashMTL(tasks),
        "config": jd.ConFIG,
        "graddrop": jd.GradDrop,
        "trimmed_mean": lambda: jd.TrimmedMean(1),
        "excess_mtl": jd.ExcessMTL,
    }
    if name in by_gramian:
        return by_gramian[name](), True
    if name in by_jacobian:
        return by_jacobian[name](), False
    return None, False


def answer(request):
    matrix = torch.from_numpy(np.load(request["matrix"]))
    method, by_gramian = weighting(request["method"], len(matrix))
    if method is None:
        return {"missing": True}
    given = matrix @ matrix.T if by_gramian else matrix
    with torch.no_grad():
        # A fresh one, for the answer of the first call.
        first, _ = weighting(request["method"], len(matrix))
        out = first(given)
        direction = (out @ matrix if by_gramian else out).numpy()
        times = []
        until = time.perf_counter() + request["seconds"]
        while time.perf_counter() < until or len(times) < 5:
            began = time.perf_counter()
            method(given)
            times.append(time.perf_counter() - began)
    return {"microseconds": float(np.median(times)) * 1e6, "direction": direction.tolist()}


torch.set_num_threads(1)
print(json.dumps({"torchjd": "0.18.0", "torch": torch.__version__}), flush=True)
for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:  # the peer's failures are part of what is measured
        reply = {"error": f"{type(error).__name__}: {error}"[:200]}
    print(json.dumps(reply), flush=True)
