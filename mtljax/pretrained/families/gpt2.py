"""GPT-2 (Radford et al. 2019): learned positions; kernels are not transposed."""

from mtljax.modules.architecture import Architecture
from mtljax.modules.config import EncoderConfig
from mtljax.pretrained.families.family import ACTIVATIONS, Family, Shape
from mtljax.pretrained.fields import Fields
from mtljax.pretrained.name_map import LAYERS, Entry, Left, NameMap, norm, table


def shape(fields: Fields) -> Shape:
    """Read the configuration."""
    fields.only("scale_attn_weights", True)
    fields.only("scale_attn_by_inverse_layer_idx", False)
    fields.harmless("reorder_and_upcast_attn", "n_ctx", "summary_type", "summary_use_proj")
    fields.harmless("summary_activation", "summary_proj_to_labels")
    width, positions = fields.get("n_embd", int), fields.get("n_positions", int)
    architecture = Architecture(
        norm_eps=fields.get("layer_norm_epsilon", float, 1e-5),
        fast_variance=False,
        embedding_scale=1.0,
        positions="learned",
        max_positions=positions,
        activation=fields.choice("activation_function", ACTIVATIONS, "gelu_new"),
    )
    encoder = EncoderConfig(
        kind="transformer",
        embedding=width,
        features=width,
        layers=fields.get("n_layer", int),
        heads=fields.get("n_head", int),
        feed_forward=fields.get("n_inner", int, 4 * width),
        architecture=architecture,
    )
    tied = fields.get("tie_word_embeddings", bool, True)
    return Shape(encoder, fields.get("vocab_size", int), positions, causal=True, tied=tied)


def _dense(path: str, name: str, inputs: int = 1) -> tuple[Entry, ...]:
    return (
        Entry(f"{path}/kernel", (f"{name}.weight",), "untransposed", inputs),
        Entry(f"{path}/bias", (f"{name}.bias",), "vector"),
    )


def name_map(shape: Shape) -> NameMap:
    """The names of its tensors."""
    layer = "h.{}"
    return NameMap(
        (
            table("embedding/words", "wte"),
            table("transformer/positions/table", "wpe"),
            *norm(f"{LAYERS}attention_norm", f"{layer}.ln_1"),
            *_dense(f"{LAYERS}qkv", f"{layer}.attn.c_attn"),
            *_dense(f"{LAYERS}out", f"{layer}.attn.c_proj", inputs=2),
            *norm(f"{LAYERS}feed_forward_norm", f"{layer}.ln_2"),
            *_dense(f"{LAYERS}up", f"{layer}.mlp.c_fc"),
            *_dense(f"{LAYERS}down", f"{layer}.mlp.c_proj"),
            *norm("transformer/final_norm", "ln_f"),
        ),
        anchor="wte.weight",
        output=() if shape.tied else (table("output", "lm_head"),),
        tied=("lm_head.weight",),
        left=(Left(r".*\.attn\.(bias|masked_bias)", "buffers"),),
    )


GPT2 = Family(("gpt2",), shape, name_map)
