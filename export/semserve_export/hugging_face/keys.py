"""The keys of config.json that do not change an encoder, or have only one supported value."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FIXED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "position_embedding_type": ("absolute", None),
        "is_decoder": (False, None),
        "add_cross_attention": (False, None),
        "is_encoder_decoder": (False, None),
        "cross_attention_hidden_size": (None,),
        "pruned_heads": ({}, [], None),
        "quantization_config": (None, {}),
        "auto_map": (None, {}),
        "adapters": (None, {}, []),
        "use_cross_attention": (False, None),
    }
)
"""Keys with their supported values; any other value changes the computation."""
WITHOUT_EFFECT = frozenset(
    # Name and authors of the model, and the software that saved it.
    [
        # Name of the model, and the software that saved it.
        "_name_or_path",
        "name_or_path",
        "architectures",
        "model_type",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "tokenizer_class",
        "prefix",
        "language",
        "name",
        "finetuning_task",
        "task_specific_params",
        "export_model_type",
        # Options of a run.
        "_attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "attn_implementation",
        "torchscript",
        "use_bfloat16",
        "xla_device",
        "tf_legacy_loss",
        "return_dict",
        "use_cache",
        "output_attentions",
        "output_hidden_states",
        "output_past",
        "gradient_checkpointing",
        "remove_invalid_values",
        "chunk_size_feed_forward",
        "initializer_range",
        "initializer_factor",
        "tie_word_embeddings",
        "tie_encoder_decoder",
        "tie_weights_",
        "tie_weights",
        # Keys of heads, which `labels.py` reads.
        "label2id",
        "id2label",
        "num_labels",
        "_num_labels",
        "problem_type",
        "function_to_apply",
        "sentence_transformers",
        "sbert_ce_default_activation_function",
        # Dropout, which applies only in training.
        "attention_probs_dropout_prob",
        "hidden_dropout_prob",
        "classifier_dropout",
        "classifier_dropout_prob",
        "dropout",
        "attention_dropout",
        "qa_dropout",
        "seq_classif_dropout",
        # Ids that the tokenizer also has, and options of text generation.
        "bos_token_id",
        "eos_token_id",
        "sep_token_id",
        "cls_token_id",
        "mask_token_id",
        "unk_token_id",
        "decoder_start_token_id",
        "max_length",
        "min_length",
        "do_sample",
        "early_stopping",
        "num_beams",
        "num_beam_groups",
        "diversity_penalty",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "bad_words_ids",
        "num_return_sequences",
        "output_scores",
        "return_dict_in_generate",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "exponential_decay_length_penalty",
        "suppress_tokens",
        "begin_suppress_tokens",
        # Keys of the first releases; transformers ignores them for these families.
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        "net_structure_type",
        "gap_size",
        "num_memory_blocks",
        "summary_activation",
        "summary_first_dropout",
        "summary_last_dropout",
        "summary_type",
        "summary_use_proj",
        "eos_token_ids",
        "model_max_length",
        "layers_to_keep",
        "down_scale_factor",
        "sinusoidal_pos_embds",
    ]
)
DEBERTA_V3: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "relative_attention": (True,),
        "position_biased_input": (False,),
        "share_att_key": (True,),
        "norm_rel_ebd": ("layer_norm",),
        "pos_att_type": ("p2c|c2p", "c2p|p2c", ["p2c", "c2p"], ["c2p", "p2c"]),
        "type_vocab_size": (0,),
        "hidden_act": ("gelu",),
        "pooler_hidden_act": ("gelu",),
        "conv_kernel_size": (0,),
    }
)
"""The values of a DeBERTa of version 3."""
DEBERTA_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "relative_attention": False,
        "position_biased_input": True,
        "share_att_key": False,
        "norm_rel_ebd": "none",
        "pos_att_type": None,
        "pooler_hidden_act": "gelu",
        "pooler_hidden_size": None,
        "pooler_dropout": 0,
        "conv_kernel_size": 0,
        "legacy": True,
    }
)
"""Default values of transformers; `legacy` is a key of the heads of language models."""
