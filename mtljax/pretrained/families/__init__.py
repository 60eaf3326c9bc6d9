"""The families of pretrained models that can be read, one file each."""

from mtljax.errors import UserError
from mtljax.pretrained.families.bert import BERT
from mtljax.pretrained.families.deberta import DEBERTA
from mtljax.pretrained.families.distilbert import DISTILBERT
from mtljax.pretrained.families.electra import ELECTRA
from mtljax.pretrained.families.family import Family as Family
from mtljax.pretrained.families.family import Shape as Shape
from mtljax.pretrained.families.gpt2 import GPT2
from mtljax.pretrained.families.llama import GEMMA3, LLAMA, QWEN3
from mtljax.pretrained.families.modernbert import MODERNBERT
from mtljax.pretrained.families.roberta import ROBERTA
from mtljax.pretrained.families.t5 import T5
from mtljax.pretrained.fields import Fields

_ALL = (BERT, ROBERTA, DISTILBERT, ELECTRA, MODERNBERT, DEBERTA, GPT2, LLAMA, QWEN3, GEMMA3, T5)

FAMILIES: dict[str, Family] = {name: family for family in _ALL for name in family.model_types}
"""By what `config.json` calls a model."""


def family_of(fields: Fields) -> Family:
    """The family of a configuration.

    Raises:
      UserError: if it is not known; names those that are.
    """
    name = fields.get("model_type", str)
    if name not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise UserError(f"{fields.where}: model type {name!r} is not known; known are {known}")
    if name not in T5.model_types:
        fields.only("is_encoder_decoder", False)
    return FAMILIES[name]
