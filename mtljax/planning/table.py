"""Plans side by side, for people."""

from collections.abc import Sequence

from rich.table import Table

from mtljax.parallel import GIB
from mtljax.planning.plan import Plan


def plan_table(plans: Sequence[Plan]) -> Table:
    """A row a plan: what a device holds, computes and sends in a step."""
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
    for one in plans:
        table.add_row(
            one.weighting,
            mesh_text(one),
            ("" if one.flops_per_device is not None else "over ")
            + _in(one.hbm_bytes_per_device, GIB),
            _in(one.argument_bytes, GIB),
            _in(one.flops_per_device, 1e12),
            _in(one.collective_bytes_total, 1e6, 1),
            _in(one.roofline_seconds, 1e-3),
            _in(one.compile_seconds, 1, 1),
            "yes" if one.fits else "no",
        )
    return table


def mesh_text(one: Plan) -> str:
    """How the devices share the step.

    >>> from mtljax.planning.plan import Plan
    >>> mesh = {"task": 4, "data": 2, "model": 1}
    >>> mesh_text(Plan("8", 8, "mgda", "task", mesh, 0, 0, True, 0, None, 0, 0, 0, {}, 0, None, 0))
    'task 4 x data 2, tasks on groups'
    """
    sizes = " x ".join(f"{name} {size}" for name, size in one.mesh.items() if size > 1)
    return f"{sizes or 'one device'}{', tasks on groups' if one.placement == 'task' else ''}"


def fit_text(one: Plan) -> str:
    """In a line, whether a plan fits, and by how much."""
    needed = _in(one.hbm_bytes_per_device, GIB)
    if one.hbm_limit is None:
        return f"{needed} GiB a device; --memory says how much there is"
    limit = _in(one.hbm_limit, GIB)
    if one.fits:
        return f"fits: {needed} of {limit} GiB a device"
    over = _in(one.hbm_bytes_per_device - one.hbm_limit, GIB)
    least = "" if one.flops_per_device is not None else "at least "
    return f"does not fit: {least}{needed} GiB a device, {over} GiB more than the {limit} there are"


def _in(value: float | None, unit: float, digits: int = 2) -> str:
    if value is None:
        return "-"
    value = value / unit
    return f"{value:,.{digits}f}" if value >= 0.01 or value == 0 else f"{value:.2g}"
