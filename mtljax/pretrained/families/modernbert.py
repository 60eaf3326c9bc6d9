"""ModernBERT (Warner et al. 2024): rotary positions of two bases, windows, gates, no biases."""

from mtljax.modules.architecture import Architecture
from mtljax.modules.config import EncoderConfig
from mtljax.pretrained.families.family import ACTIVATIONS, Family, Shape
from mtljax.pretrained.families.rotary import local_base, rotary, window_pattern
from mtljax.pretrained.fields import Fields
from mtljax.pretrained.name_map import LAYERS, Left, NameMap, dense, norm, table


def shape(fields: Fields) -> Shape:
    """Read the configuration."""
    fields.harmless("max_position_embeddings", "tie_word_embeddings", "decoder_bias")
    fields.harmless("layer_norm_eps", "position_embedding_type")  # written, and never read
    fields.harmless("classifier_bias", "classifier_activation", "sliding_window")
    width, layers = fields.get("hidden_size", int), fields.get("num_hidden_layers", int)
    every = fields.get("global_attn_every_n_layers", int, 3)
    kinds = ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
    whole = rotary(fields, "full_attention", "global_rope_theta", 160_000.0)
    bias = fields.get("attention_bias", bool, False)
    architecture = Architecture(
        norm_eps=fields.get("norm_eps", float, 1e-5),
        norm_bias=fields.get("norm_bias", bool, False),
        fast_variance=False,
        first_norm=False,
        embedding_norm=True,
        embedding_scale=1.0,
        **whole.fields(),
        rotary_local_base=local_base(fields, "local_rope_theta"),
        qkv_bias=bias,
        out_bias=bias,
        activation=fields.choice("hidden_activation", ACTIVATIONS, "gelu"),
        gated=True,
        feed_forward_bias=fields.get("mlp_bias", bool, False),
        window=fields.get("local_attention", int, 128) // 2,
        window_pattern=window_pattern(fields.get("layer_types", list, kinds), fields),
    )
    encoder = EncoderConfig(
        kind="transformer",
        embedding=width,
        features=width,
        layers=layers,
        heads=fields.get("num_attention_heads", int),
        feed_forward=fields.get("intermediate_size", int),
        architecture=architecture,
    )
    return Shape(encoder, fields.get("vocab_size", int))


def name_map(shape: Shape) -> NameMap:
    """The names of its tensors."""
    a, layer = shape.encoder.architecture, "layers.{}"
    bias = a.norm_bias
    return NameMap(
        (
            table("embedding/words", "embeddings.tok_embeddings"),
            *norm("transformer/embedding_norm", "embeddings.norm", bias=bias),
            *norm(f"{LAYERS}attention_norm", f"{layer}.attn_norm", bias=bias, first_layer=1),
            *dense(f"{LAYERS}qkv", f"{layer}.attn.Wqkv", bias=a.qkv_bias),
            *dense(f"{LAYERS}out", f"{layer}.attn.Wo", bias=a.out_bias, inputs=2),
            *norm(f"{LAYERS}feed_forward_norm", f"{layer}.mlp_norm", bias=bias),
            *dense(f"{LAYERS}gate_up", f"{layer}.mlp.Wi", bias=a.feed_forward_bias),
            *dense(f"{LAYERS}down", f"{layer}.mlp.Wo", bias=a.feed_forward_bias),
            *norm("transformer/final_norm", "final_norm", bias=bias),
        ),
        anchor="embeddings.tok_embeddings.weight",
        tied=("decoder.weight",),
        left=(
            Left(r"(head|decoder)\..*", "a head of pretraining"),
            Left(r".*rotary_emb\..*", "buffers"),
        ),
    )


MODERNBERT = Family(("modernbert",), shape, name_map)
