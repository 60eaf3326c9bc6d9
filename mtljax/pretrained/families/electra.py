"""ELECTRA (Clark et al. 2020): BERT whose words may be narrower than its layers."""

from mtljax.pretrained.families import bert
from mtljax.pretrained.families.family import Family, Shape
from mtljax.pretrained.fields import Fields


def shape(fields: Fields) -> Shape:
    """Read the configuration."""
    fields.harmless("summary_type", "summary_use_proj", "summary_activation")
    return bert.shape(fields, embedding_size=128)


ELECTRA = Family(("electra",), shape, bert.name_map)
