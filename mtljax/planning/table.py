"""Tables and lines about plans, for people."""

import math
from collections.abc import Sequence

from rich.table import Table

from mtljax.parallel.hardware import GIB
from mtljax.planning.plan import Plan


def plan_table(plans: Sequence[Plan]) -> Table:
    """A table with a row for each plan: memory, FLOPs and bytes sent of a device in a step."""
    first = plans[0]
    here = first.topology.isdigit()
    where = f"{first.devices} devices" + (" of this host" if here else f" of {first.topology}")
    table = Table(
        title=f"a step on {where}, each",
        title_justify="left",
    )
    table.add_column("weighting")
    table.add_column("mesh")
    for name in ("memory GiB", "arguments", "TFLOP", "sent MB", "least ms", "compiled s"):
        table.add_column(name, justify="right")
    table.add_column("fits")
    for plan in plans:
        table.add_row(
            plan.weighting,
            mesh_text(plan),
            ("" if plan.flops_per_device is not None else "over ")
            + _in(plan.hbm_bytes_per_device, GIB),
            _in(plan.argument_bytes, GIB),
            _in(plan.flops_per_device, 1e12),
            _in(plan.collective_bytes_total, 1e6, 1),
            _in(plan.roofline_seconds, 1e-3),
            _in(plan.compile_seconds, 1, 1),
            "yes" if plan.fits else "no",
        )
    return table


def mesh_text(plan: Plan) -> str:
    """The mesh of a plan in words.

    >>> from mtljax.planning.plan import Plan
    >>> mesh = {"task": 4, "data": 2, "model": 1}
    >>> mesh_text(Plan("8", 8, "mgda", "task", mesh, 0, 0, True, 0, None, 0, 0, 0, {}, 0, None, 0))
    'task 4 x data 2, tasks on groups'
    """
    sizes = " x ".join(f"{name} {size}" for name, size in plan.mesh.items() if size > 1)
    return f"{sizes or 'one device'}{', tasks on groups' if plan.placement == 'task' else ''}"


def fit_text(plan: Plan) -> str:
    """Whether a plan fits the memory, and by how much, in a line."""
    needed = _in(plan.hbm_bytes_per_device, GIB)
    if plan.hbm_limit is None:
        return f"{needed} GiB a device; --memory says how much there is"
    limit = _in(plan.hbm_limit, GIB)
    if plan.fits:
        return f"fits: {needed} of {limit} GiB a device"
    over = _in(plan.hbm_bytes_per_device - plan.hbm_limit, GIB)
    least = "" if plan.flops_per_device is not None else "at least "
    return f"does not fit: {least}{needed} GiB a device, {over} GiB more than the {limit} there are"


def measured_text(plan: Plan) -> str:
    """What the steps cost whose gradients are measured, in a line; empty where there are none."""
    if not plan.measured_every or plan.measured_flops_per_device is None:
        return ""
    # The mean over steps is known, and that of measured ones: what is left is a step in between.
    others = plan.measured_every - 1
    flops = (plan.flops_per_device or 0) * plan.measured_every - plan.measured_flops_per_device
    ratio = plan.measured_flops_per_device * others / flops if flops else math.nan
    sent = _in(plan.measured_collective_bytes_total, 1e6, 1)
    return (
        f"a step in {plan.measured_every} measures gradients: {ratio:.2f} times the FLOPs of the "
        f"others, {sent} MB sent; the table has the larger memory and the mean of the rest"
    )


def _in(value: float | None, unit: float, digits: int = 2) -> str:
    if value is None:
        return "-"
    value = value / unit
    return f"{value:,.{digits}f}" if value >= 0.01 or value == 0 else f"{value:.2g}"
