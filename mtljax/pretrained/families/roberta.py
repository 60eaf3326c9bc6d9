"""RoBERTa (Liu et al. 2019) and XLM-R (Conneau et al. 2020): positions count from the padding."""

from mtljax.pretrained.families import bert
from mtljax.pretrained.families.family import Family, Shape
from mtljax.pretrained.fields import Fields


def shape(fields: Fields) -> Shape:
    """Read the configuration: the first position has the number after the id of the padding."""
    return bert.shape(fields, position_offset=fields.get("pad_token_id", int, 1) + 1)


ROBERTA = Family(("roberta", "xlm-roberta"), shape, bert.name_map)
