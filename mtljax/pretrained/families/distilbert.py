"""DistilBERT (Sanh et al. 2019): BERT without token types, with other names."""

from mtljax.modules.architecture import Architecture
from mtljax.modules.config import EncoderConfig
from mtljax.pretrained.families.family import ACTIVATIONS, Family, Shape
from mtljax.pretrained.fields import Fields
from mtljax.pretrained.name_map import LAYERS, Left, NameMap, dense, norm, table


def shape(fields: Fields) -> Shape:
    """Read the configuration; sinusoids, where it had them, lie in the table of positions."""
    fields.harmless("sinusoidal_pos_embds", "tie_weights_", "tie_word_embeddings")
    width, positions = fields.get("dim", int), fields.get("max_position_embeddings", int)
    architecture = Architecture(
        norm_placement="after",
        norm_eps=1e-12,
        fast_variance=False,
        embedding_norm=True,
        embedding_scale=1.0,
        positions="learned",
        max_positions=positions,
        activation=fields.choice("activation", ACTIVATIONS, "gelu"),
    )
    encoder = EncoderConfig(
        kind="transformer",
        embedding=width,
        features=width,
        layers=fields.get("n_layers", int),
        heads=fields.get("n_heads", int),
        feed_forward=fields.get("hidden_dim", int),
        architecture=architecture,
    )
    return Shape(encoder, fields.get("vocab_size", int), positions)


def name_map(shape: Shape) -> NameMap:
    """The names of its tensors."""
    del shape
    layer = "transformer.layer.{}"
    attention = f"{layer}.attention"
    return NameMap(
        (
            table("embedding/words", "embeddings.word_embeddings"),
            table("transformer/positions/table", "embeddings.position_embeddings"),
            *norm("transformer/embedding_norm", "embeddings.LayerNorm"),
            *dense(
                f"{LAYERS}qkv", f"{attention}.q_lin", f"{attention}.k_lin", f"{attention}.v_lin"
            ),
            *dense(f"{LAYERS}out", f"{attention}.out_lin", inputs=2),
            *norm(f"{LAYERS}attention_norm", f"{layer}.sa_layer_norm"),
            *dense(f"{LAYERS}up", f"{layer}.ffn.lin1"),
            *dense(f"{LAYERS}down", f"{layer}.ffn.lin2"),
            *norm(f"{LAYERS}feed_forward_norm", f"{layer}.output_layer_norm"),
        ),
        anchor="embeddings.word_embeddings.weight",
        tied=("vocab_projector.weight",),
        left=(Left(r"vocab_.*", "a head of pretraining"), Left(r".*position_ids", "buffers")),
    )


DISTILBERT = Family(("distilbert",), shape, name_map)
