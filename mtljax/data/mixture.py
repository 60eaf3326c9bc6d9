"""How the tokens of a step are shared among input groups."""

from collections.abc import Mapping, Sequence

from mtljax.data.groups import Group
from mtljax.errors import UserError

_FILL = 0.97  # share of a packed row that is real, as a rule


def rows_per_group(
    groups: Sequence[Group],
    tokens: Mapping[str, int],
    examples: Mapping[str, int],
    batch_tokens: int,
    row_length: int,
) -> dict[str, int]:
    """Shares the rows of a step among input groups.

    A group whose tasks name a `batch_size` gets rows for that many examples of average length; of
    the rows that are left, one whose tasks name a `rate` gets that share (the largest, if several
    do), and the others share what remains in proportion to their training tokens. Where every
    group has a rate, only their proportions count.

    Args:
        groups: the input groups.
        tokens: ids in the training split of each group.
        examples: examples in the training split of each group.
        batch_tokens: ids in a step, padding included.
        row_length: ids in a row.

    Returns:
        Rows of each group, at least one.

    Raises:
        UserError: if the rates leave nothing for groups that have none.
    """
    total = max(1, round(batch_tokens / row_length))
    rows: dict[str, int] = {}
    for group in groups:
        sizes = [task.batch_size for task in group.tasks if task.batch_size is not None]
        if sizes:
            mean = tokens[group.name] / max(1, examples[group.name])
            rows[group.name] = max(1, round(max(sizes) * mean / (row_length * _FILL)))
    others = [group for group in groups if group.name not in rows]
    shares = _shares(others, tokens)
    left = max(len(others), total - sum(rows.values()))
    rows |= _rounded({name: share * left for name, share in shares.items()}, left)
    return {group.name: rows[group.name] for group in groups}


def _shares(groups: Sequence[Group], tokens: Mapping[str, int]) -> dict[str, float]:
    rates = {
        group.name: max(task.rate for task in group.tasks if task.rate is not None)
        for group in groups
        if any(task.rate is not None for task in group.tasks)
    }
    free = [group for group in groups if group.name not in rates]
    if not free:
        return {name: rate / sum(rates.values()) for name, rate in rates.items()}
    remaining = 1 - sum(rates.values())
    if rates and remaining <= 0:
        names = ", ".join(task.name for group in free for task in group.tasks)
        raise UserError(f"the rates add up to 1 or more, which leaves nothing for {names}")
    whole = sum(tokens[group.name] for group in free)
    proportional = {group.name: remaining * tokens[group.name] / whole for group in free}
    return rates | proportional


def _rounded(wanted: Mapping[str, float], total: int) -> dict[str, int]:
    # Largest remainders, but nobody goes without.
    rows = {name: max(1, int(value)) for name, value in wanted.items()}
    by_remainder = sorted(wanted, key=lambda name: rows[name] - wanted[name])
    for name in by_remainder:
        if sum(rows.values()) < total:
            rows[name] += 1
    while sum(rows.values()) > total:
        most = max(rows, key=lambda name: rows[name] - wanted[name] if rows[name] > 1 else -1e9)
        rows[most] -= 1
    return rows
