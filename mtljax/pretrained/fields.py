"""The fields of a `config.json`: each is read, known to be harmless, or refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from mtljax.errors import UserError

T = TypeVar("T")

CONFIG = "config.json"

_HARMLESS: frozenset[str] = frozenset(
    (
        # What a model is called, where it comes from, and how it was saved.
        *("architectures", "model_type", "transformers_version", "torch_dtype", "dtype"),
        *("name_or_path", "tokenizer_class", "language", "unsloth_version", "unsloth_fixed"),
        *("processor_class", "gradient_checkpointing", "use_cache", "torchscript"),
        *("tie_encoder_decoder", "prefix", "reference_compile", "sparse_prediction"),
        *(
            "sparse_pred_ignore_index",
            "classifier_pooling",
            "pretraining_tp",
            "cache_implementation",
        ),
        # Special ids, which the tokenizer says, and classes of a head that is not read.
        *("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id"),
        *("mask_token_id", "unk_token_id", "decoder_start_token_id", "forced_bos_token_id"),
        *("forced_eos_token_id", "id2label", "label2id", "num_labels", "problem_type"),
        *("finetuning_task", "return_dict", "return_dict_in_generate", "task_specific_params"),
        # Training: initialization and dropout are settings of a run.
        *("initializer_range", "initializer_factor", "initializer_cutoff_factor"),
        *("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
        *("attention_dropout", "dropout", "seq_classif_dropout", "qa_dropout", "mlp_dropout"),
        *("embedding_dropout", "summary_last_dropout", "embd_pdrop", "attn_pdrop", "resid_pdrop"),
        *("summary_first_dropout", "dropout_rate", "output_dropout", "embed_dropout"),
        # How much is computed at a time, and what is returned besides.
        *("chunk_size_feed_forward", "output_attentions", "output_hidden_states"),
        *(
            "attn_implementation",
            "use_flash_attn",
            "deterministic_flash_attn",
            "repad_logits_with_grad",
        ),
        # Generation.
        *("max_length", "min_length", "do_sample", "early_stopping", "num_beams", "top_k", "top_p"),
        *("num_beam_groups", "diversity_penalty", "temperature", "typical_p", "bad_words_ids"),
        *("repetition_penalty", "length_penalty", "no_repeat_ngram_size", "num_return_sequences"),
        *("encoder_no_repeat_ngram_size", "output_scores", "remove_invalid_values"),
        *("exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens"),
        *("tf_legacy_loss", "use_bfloat16", "output_past", "xla_device"),
    )
)


class Fields:
    """Reads the fields of a configuration by name, and knows at the end which were not.

    Args:
      content: the fields.
      where: the file, for messages.
    """

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self.content = content
        self.where = where
        self._known: set[str] = set(_HARMLESS)

    def get(self, name: str, kind: type[T], default: Any = None) -> T:
        """The value of a field; `default` where it is missing or null.

        Raises:
          UserError: if it is missing and has no default, or is of another type.
        """
        self._known.add(name)
        value: Any = self.content.get(name)
        value = default if value is None else value
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if value is None:
            raise UserError(f"{self.where}: field {name!r} is missing")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UserError(
                f"{self.where}: field {name!r}: expected {kind.__name__}, got {value!r}"
            )
        return value

    def choice(self, name: str, choices: Mapping[str, T], default: str | None = None) -> T:
        """What a field stands for, of the values that are supported.

        Raises:
          UserError: if it has another value.
        """
        value = self.get(name, str, default)
        if value not in choices:
            known = ", ".join(map(repr, choices))
            raise UserError(f"{self.where}: {name} {value!r} is not supported, only {known}")
        return choices[value]

    def only(self, name: str, *allowed: Any) -> None:
        """Refuses a field whose value is not one of those that change no number.

        Raises:
          UserError: naming it.
        """
        self._known.add(name)
        value = self.content.get(name)
        if value is not None and not any(value == a and type(value) is type(a) for a in allowed):
            raise UserError(
                f"{self.where}: field {name!r} is {value!r}, which would change the numbers and is "
                "not supported"
            )

    def present(self, name: str) -> None:
        """Refuses a configuration without a field, whose default would change the numbers.

        Raises:
          UserError: naming it.
        """
        if self.content.get(name) is None:
            raise UserError(f"{self.where}: field {name!r} is missing")

    def harmless(self, *names: str) -> None:
        """Names fields of a family that change no number."""
        self._known.update(names)

    def finish(self) -> None:
        """Refuses what nobody read.

        Raises:
          UserError: naming the first field that is not known.
        """
        for name, value in self.content.items():
            if name not in self._known and not name.startswith("_") and value is not None:
                raise UserError(
                    f"{self.where}: field {name!r} ({str(value)[:60]}) is not known, and may "
                    "change the numbers"
                )


def read_fields(directory: Path) -> Fields:
    """The fields of the configuration of a pretrained model.

    Raises:
      UserError: if there is none, or it is no JSON object.
    """
    path = directory / CONFIG
    if not directory.is_dir():
        raise UserError(f"pretrained model {directory}: no such directory")
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"pretrained model {directory}: has no {CONFIG}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cut short or damaged: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected one entry a field")
    fields = Fields(content, str(path))
    fields.only("is_decoder", False)
    fields.only("add_cross_attention", False)
    fields.only("cross_attention_hidden_size")
    fields.only("pruned_heads", {})
    fields.only("quantization_config")
    return fields
