"""What became of every tensor of a pretrained model."""

from typing import NamedTuple


class Read(NamedTuple):
    """A tensor that a parameter is made of.

    Attributes:
      name: of the tensor.
      path: of the parameter.
      how: what was done to it.
    """

    name: str
    path: str
    how: str


class LoadReport(NamedTuple):
    """Every tensor of a pretrained model, and every parameter that none was found for.

    Attributes:
      family: of the model, as its `config.json` names it.
      prefix: what stands before the names of tensors.
      read: tensors that parameters are made of.
      tied: tensors that repeat the word table, which is read in their place.
      left: (name, reason) of tensors that are known and not needed.
      unexpected: tensors that nothing is known of.
      missing: (path, what it is instead) of parameters without a tensor.
      notes: what else should be known.
    """

    family: str
    prefix: str
    read: tuple[Read, ...]
    tied: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    unexpected: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """All of it in one line."""
        count = len(self.read) + len(self.tied) + len(self.left) + len(self.unexpected)
        parts = [f"{self.family}: {count} tensors, {len(self.read)} read"]
        if self.tied:
            parts.append(f"{len(self.tied)} tied to the word table")
        if self.left:
            why = ", ".join(dict.fromkeys(why for _, why in self.left))
            parts.append(f"{len(self.left)} not needed ({why})")
        if self.unexpected:
            shown = ", ".join(self.unexpected[:3]) + (", ..." if len(self.unexpected) > 3 else "")
            parts.append(f"{len(self.unexpected)} unexpected and not read ({shown})")
        parts += [f"{path}: {what}" for path, what in self.missing]
        return "; ".join([*parts, *self.notes])

    def __str__(self) -> str:
        rows = [(read.name, f"{read.path} ({read.how})") for read in self.read]
        rows += [(name, "tied to the word table") for name in self.tied]
        rows += [(name, f"not needed: {why}") for name, why in self.left]
        rows += [(name, "unexpected: not read") for name in self.unexpected]
        rows += [("-", f"{path}: {what}") for path, what in self.missing]
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join([self.summary(), *(f"{name:<{width}}  {what}" for name, what in rows)])
