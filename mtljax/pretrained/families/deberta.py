"""DeBERTa-v2 and v3 (He et al. 2021, 2023): BERT with disentangled positions."""

from mtljax.modules.architecture import Architecture
from mtljax.modules.config import EncoderConfig
from mtljax.pretrained.families.family import ACTIVATIONS, Family, Shape
from mtljax.pretrained.fields import Fields
from mtljax.pretrained.name_map import LAYERS, Entry, Left, NameMap, dense, norm, table


def shape(fields: Fields) -> Shape:
    """Read the configuration of what all published models have: both directions, shared keys."""
    fields.only("relative_attention", True)
    fields.only("share_att_key", True)
    fields.only("norm_rel_ebd", "layer_norm")
    fields.only("conv_kernel_size", 0)
    both = ["p2c", "c2p"]
    fields.only("pos_att_type", both, both[::-1], "p2c|c2p", "c2p|p2c")
    for name in ("relative_attention", "share_att_key", "norm_rel_ebd", "pos_att_type"):
        fields.present(name)
    fields.only("position_biased_input", False)
    fields.present("position_biased_input")
    fields.harmless("pooler_dropout", "pooler_hidden_act", "pooler_hidden_size", "legacy")
    fields.harmless("tie_word_embeddings", "conv_act", "conv_groups")
    width, heads = fields.get("hidden_size", int), fields.get("num_attention_heads", int)
    fields.only("embedding_size", width)
    fields.only("attention_head_size", width // heads)
    most = fields.get("max_relative_positions", int, -1)
    positions = fields.get("max_position_embeddings", int, 512)
    architecture = Architecture(
        norm_placement="after",
        norm_eps=fields.get("layer_norm_eps", float, 1e-7),
        fast_variance=False,
        embedding_norm=True,
        embedding_scale=1.0,
        positions="disentangled",
        max_positions=most if most > 0 else positions,
        position_buckets=max(fields.get("position_buckets", int, -1), 0),
        token_types=fields.get("type_vocab_size", int, 0),
        query_scale=(3 * (width // heads)) ** -0.5,
        activation=fields.choice("hidden_act", ACTIVATIONS, "gelu"),
    )
    encoder = EncoderConfig(
        kind="transformer",
        embedding=width,
        features=width,
        layers=fields.get("num_hidden_layers", int),
        heads=heads,
        feed_forward=fields.get("intermediate_size", int),
        architecture=architecture,
    )
    return Shape(encoder, fields.get("vocab_size", int))


def name_map(shape: Shape) -> NameMap:
    """The names of its tensors."""
    layer, self_ = "encoder.layer.{}", "encoder.layer.{}.attention.self"
    entries: tuple[Entry, ...] = (
        table("embedding/words", "embeddings.word_embeddings"),
        *norm("transformer/embedding_norm", "embeddings.LayerNorm"),
        table("transformer/distances/table", "encoder.rel_embeddings"),
        *norm("transformer/distances/norm", "encoder.LayerNorm"),
        *dense(f"{LAYERS}qkv", f"{self_}.query_proj", f"{self_}.key_proj", f"{self_}.value_proj"),
        *dense(f"{LAYERS}out", f"{layer}.attention.output.dense", inputs=2),
        *norm(f"{LAYERS}attention_norm", f"{layer}.attention.output.LayerNorm"),
        *dense(f"{LAYERS}up", f"{layer}.intermediate.dense"),
        *dense(f"{LAYERS}down", f"{layer}.output.dense"),
        *norm(f"{LAYERS}feed_forward_norm", f"{layer}.output.LayerNorm"),
    )
    if shape.encoder.architecture.token_types:
        entries += (table("transformer/token_types/table", "embeddings.token_type_embeddings"),)
    return NameMap(
        entries,
        anchor="embeddings.word_embeddings.weight",
        tied=("cls.predictions.decoder.weight", "lm_predictions.lm_head.decoder.weight"),
        left=(
            Left(r"(cls|lm_predictions|mask_predictions)\..*", "a head of pretraining"),
            Left(r".*embeddings\.position_(ids|embeddings\.weight)", "not used"),
            Left(r"pooler\.dense\..*", "a pooler of a classifier"),
        ),
    )


DEBERTA = Family(("deberta-v2",), shape, name_map)
