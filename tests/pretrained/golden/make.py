"""Makes the tiny random models of this directory, and what transformers computes with them.

It needs PyTorch and transformers, which the tests do not: `python make.py [FAMILY ...]`, in an
environment that has both (made with torch 2.13.0 and transformers 5.23.0).
"""

# pyright: reportMissingImports=false

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
TEXTS = [
    "A man is eating food.",
    "the quick brown fox jumps over the lazy dog",
    "Don't stop, Zoë!",
    "unknowable",
    "",
]
PAIRS = [("A man is eating.", "The girl is carrying a baby."), ("fox", "the dog the dog the dog")]
ROWS, LENGTH = 3, 13
LENGTHS = (13, 7, 4)


def small(**kwargs):
    """The shape that most families share."""
    return {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    } | kwargs


def word_pieces():
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[A]", "[B]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    ids = [("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def bert():
    config = transformers.BertConfig(**small(max_position_embeddings=40))
    return transformers.BertForMaskedLM(config), word_pieces()


def byte_pairs(special, **kwargs):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS + [text for pair in PAIRS for text in pair], trainer)
    if "sep_token" in kwargs:
        ends = [(kwargs[name], special.index(kwargs[name])) for name in ("sep_token", "cls_token")]
        tokenizer.post_processor = processors.RobertaProcessing(*ends, add_prefix_space=False)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **kwargs)


def roberta_tokenizer():
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    names = ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token")
    both = {"cls_token": "<s>", "sep_token": "</s>"}
    return byte_pairs(special, **dict(zip(names, special, strict=True)), **both)


def unigram():
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=90, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 4 + [text for pair in PAIRS for text in pair], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
    )


def roberta():
    config = transformers.RobertaConfig(
        **small(max_position_embeddings=42, type_vocab_size=1, layer_norm_eps=1e-5)
    )
    return transformers.RobertaModel(config), roberta_tokenizer()


def xlm_roberta():
    config = transformers.XLMRobertaConfig(
        **small(max_position_embeddings=62, type_vocab_size=1, layer_norm_eps=1e-5)
    )
    return transformers.XLMRobertaForMaskedLM(config), unigram()


def distilbert():
    config = transformers.DistilBertConfig(
        vocab_size=96, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=40
    )
    return transformers.DistilBertForMaskedLM(config), None


def electra():
    config = transformers.ElectraConfig(**small(max_position_embeddings=40, embedding_size=16))
    return transformers.ElectraForPreTraining(config), None


def modernbert():
    config = transformers.ModernBertConfig(
        **small(num_hidden_layers=4, local_attention=6),
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    )
    return transformers.ModernBertForMaskedLM(config), None


def deberta():
    config = transformers.DebertaV2Config(
        **small(max_position_embeddings=40, layer_norm_eps=1e-7),
        relative_attention=True,
        position_buckets=6,
        max_relative_positions=-1,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type="p2c|c2p",
        position_biased_input=False,
    )
    return transformers.DebertaV2Model(config), None


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=96,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_inner=48,
        n_positions=80,
        bos_token_id=0,
        eos_token_id=0,
    )
    end = "<|endoftext|>"
    tokenizer = byte_pairs([end], bos_token=end, eos_token=end, unk_token=end)
    return transformers.GPT2LMHeadModel(config), tokenizer


def llama():
    config = transformers.LlamaConfig(
        **small(num_key_value_heads=2, head_dim=8),
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    )
    return transformers.LlamaForCausalLM(config), None


def qwen3():
    config = transformers.Qwen3Config(
        **small(num_key_value_heads=2, head_dim=16), tie_word_embeddings=True
    )
    return transformers.Qwen3ForCausalLM(config), None


def gemma3():
    config = transformers.Gemma3TextConfig(
        **small(num_hidden_layers=3, num_key_value_heads=1, head_dim=16),
        query_pre_attn_scalar=12,
        sliding_window=4,
        sliding_window_pattern=3,
    )
    return transformers.Gemma3ForCausalLM(config), None


def t5_shape(config=transformers.T5Config, **kwargs):
    return config(
        vocab_size=96,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=3,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=12,
        decoder_start_token_id=0,
        **kwargs,
    )


def t5_tokenizer():
    """Pieces of texts that begin with no mark."""
    tokenizer = unigram()._tokenizer
    content = json.loads(tokenizer.to_str())
    pieces = ["<pad>", "</s>", "<unk>"]
    scored = [row for row in content["model"]["vocab"] if row[0] not in ("<s>", *pieces)]
    content["model"] |= {"vocab": [[piece, 0.0] for piece in pieces] + scored, "unk_id": 2}
    content["added_tokens"] = []
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps({**content, "post_processor": None}))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def t5():
    return transformers.T5ForConditionalGeneration(t5_shape(num_decoder_layers=1)), t5_tokenizer()


def flan_t5():
    config = t5_shape(feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    model = transformers.T5ForConditionalGeneration(config)
    model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    return model, None


def mt5():
    model = transformers.MT5ForConditionalGeneration(t5_shape(transformers.MT5Config))
    # As in the models that were published, whatever the configuration says of tied tables.
    model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    return model, t5_tokenizer()


FAMILIES = {
    "bert": bert,
    "roberta": roberta,
    "xlm-roberta": xlm_roberta,
    "distilbert": distilbert,
    "electra": electra,
    "modernbert": modernbert,
    "deberta": deberta,
    "gpt2": gpt2,
    "llama": llama,
    "qwen3": qwen3,
    "gemma3": gemma3,
    "t5": t5,
    "flan-t5": flan_t5,
    "mt5": mt5,
}

# With others, what these write soon is one token again and again.
SEEDS = {"t5": 0, "flan-t5": 1, "mt5": 8}


def make(name):
    torch.manual_seed(SEEDS.get(name, sum(map(ord, name))))
    model, tokenizer = FAMILIES[name]()
    model = model.eval()
    with torch.no_grad():
        # As they are drawn, numbers are so small that a wrong layer would hardly show.
        for path, parameter in model.named_parameters():
            drawn = torch.randn_like(parameter)
            norm = "norm" in path.lower() and path.endswith("weight")
            parameter.copy_(1 + 0.2 * drawn if norm else 0.25 * drawn)
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    found = {}
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)
        for path in directory.glob("*.jinja"):
            path.unlink()
        single, pairs = tokenizer(TEXTS), tokenizer(*map(list, zip(*PAIRS, strict=True)))
        found = {"texts": TEXTS, "pairs": PAIRS, "single": dict(single), "pair": dict(pairs)}
    (directory / "golden.json").write_text(json.dumps(found))

    # Of models of two parts, the one that reads.
    base = model.encoder if model.config.is_encoder_decoder else model.base_model
    generator = np.random.default_rng(0)
    size = model.config.get_text_config().vocab_size
    tokens = generator.integers(8, min(size, 90), (ROWS, LENGTH))
    mask = np.arange(LENGTH) < np.array(LENGTHS)[:, None]
    pad = model.config.get_text_config().pad_token_id or 0
    tokens = np.where(mask, tokens, pad)
    inputs = {"input_ids": torch.tensor(tokens), "attention_mask": torch.tensor(mask).long()}
    arrays = {"tokens": tokens.astype(np.int32), "mask": mask}
    with torch.no_grad():
        arrays["hidden"] = base(**inputs).last_hidden_state.numpy()
        whole = torch.tensor(tokens[:1])
        arrays["unmasked"] = base(input_ids=whole).last_hidden_state.numpy()
        if getattr(model.config, "type_vocab_size", 0) > 1:
            types = np.arange(LENGTH)[None] >= np.array([5, 3, 2])[:, None]
            arrays["types"] = types.astype(np.int32)
            typed = base(**inputs, token_type_ids=torch.tensor(types).long())
            arrays["typed"] = typed.last_hidden_state.numpy()
        if model.can_generate():
            written = model.generate(
                whole, max_new_tokens=64, do_sample=False, eos_token_id=None, pad_token_id=pad
            )[0]
            # What answers, and does not continue, begins with a mark.
            before = 1 if model.config.is_encoder_decoder else LENGTH
            arrays["generated"] = written[before:].numpy()
    np.savez_compressed(directory / "golden.npz", **arrays)


if __name__ == "__main__":
    for name in sys.argv[1:] or FAMILIES:
        make(name)
