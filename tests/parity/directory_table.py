"""Every directory that is exported in a test: who wrote it, and what is odd about it."""

# ruff: noqa: E501 - a case a line

import ml_dtypes
import numpy as np
from parity import hugging_face as hf
from parity import hugging_face_tokenizers as tokens
from parity.directory_cases import (
    Case,
    beside,
    cased_pair,
    heads,
    lowered,
    plain,
    sentences,
    sharded,
    vector_norm,
)
from parity.reference_encoders import Array
from parity.tokenizer_cases import (
    separators_of_other_names,
    slow_added,
    slow_bert,
    slow_pieces,
    slow_roberta,
    with_words,
)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


MULTI = {"problem_type": "multi_label_classification"}
UNNAMED = {"id2label": ...}
GAMMA = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


def old_norms(name: str) -> str:
    for new, old in GAMMA.items():
        name = name.replace(new, old)
    return name


LANGUAGE_HEAD = {"cls.predictions.bias": (9,), "cls.predictions.transform.dense.weight": (16, 16)}
CASES = (
    # Encoders as AutoModel saves them, without a prefix.
    *(Case(f"embedder-{family}", plain(family), quick=True) for family in hf.FAMILIES),
    Case("no-pooler", plain(pooler=False)),
    Case("prefix-albert", plain("albert", prefix="albert.")),
    Case("prefix-distilbert", plain("distilbert", prefix="distilbert.")),
    Case("prefix-sentence", plain("roberta", prefix="0.auto_model.")),
    Case("language-model", beside(LANGUAGE_HEAD, plain(prefix="bert.", config={"architectures": ["BertForMaskedLM"]})), {"task": "embedding"}),
    # Classifiers with each family's own head.
    *(Case(f"classifier-{family}", heads(family), quick=True) for family in hf.FAMILIES),
    *(Case(f"pair-{family}", heads(family, pair=True), {"pair": True}) for family in hf.FAMILIES),
    # What Keras converts, in a minute.
    Case("embedder-deberta", plain("deberta-v2")),
    Case("pair-deberta", heads("deberta-v2", pair=True), {"pair": True}),
    Case("slow-deberta", slow_pieces("deberta-v2", "spm.model", "DebertaV3", do_lower_case=False)),
    Case("multi-label", heads("roberta", 4, config=MULTI, scores=sigmoid), quick=True),
    Case("cross-encoder-sigmoid", heads(config={"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}, scores=sigmoid)),
    Case("two-unnamed-labels", heads(classes=2, config=UNNAMED), quick=True),
    Case("wrapped-names", heads(rename=lambda name: f"module._orig_mod.{name}")),
    Case("old-norms", heads(rename=old_norms)),
    Case("sharded", sharded),
    Case("half", heads("distilbert", dtype=np.float16)),
    Case("bfloat16", heads("albert", dtype=ml_dtypes.bfloat16)),
    Case("bert-with-pieces", heads("bert", pair=True, tokenizer=tokens.xlm_roberta_tokenizer(), tokenizer_config={"tokenizer_class": "XLMRobertaTokenizer"}), {"pair": True}),
    Case("no-segments", cased_pair, {"pair": True}),
    # What config.json says.
    Case("epsilon", plain("bert", config={"layer_norm_eps": 1e-2}), quick=True),
    Case("relu", plain("bert", config={"hidden_act": "relu"})),
    Case("silu", plain("distilbert", config={"activation": "silu"})),
    Case("gelu-new", plain("roberta", config={"hidden_act": "gelu_new"})),
    Case("albert-groups", plain("albert", config={"num_hidden_groups": 2, "inner_group_num": 2}), quick=True),
    Case("one-segment", plain("bert", config={"unknown": None, "pruned_heads": {}})),
    # sentence-transformers, old and new.
    Case("modules-mean", sentences("mean"), quick=True),
    Case("modules-new-cls", sentences("cls", new=True), quick=True),
    Case("modules-0-transformer", sentences("max", family="distilbert", transformer="0_Transformer")),
    Case("modules-roberta", sentences("mean", family="roberta", metric="euclidean")),
    Case("modules-sqrt", sentences("mean_sqrt_len_tokens", normalize=False, metric="dot"), quick=True),
    Case("modules-weighted", sentences("weightedmean", new=True, normalize=False)),
    Case("modules-last", sentences("lasttoken", family="xlm-roberta")),
    Case("modules-joined", sentences("cls", "max", "mean", normalize=False), quick=True),
    Case("modules-new-joined", sentences("mean", "cls", new=True, metric="manhattan")),
    Case("dense-tanh", sentences("cls", dense="activation.Tanh"), quick=True),
    Case("dense-identity", sentences("mean", dense="linear.Identity", bias=False, new=True)),
    Case("dense-relu-joined", sentences("mean", "lasttoken", dense="activation.ReLU", normalize=False)),
    Case("dense-gelu", sentences("max", dense="activation.GELU", normalize=False)),
    Case("dense-sigmoid", sentences("mean", dense="activation.Sigmoid", family="albert")),
    Case("layer-norm", vector_norm),
    Case("prompts", sentences("mean", prompts={"query": "query: "})),
    Case("default-prompt", sentences("mean", prompts={"q": "q: "}, default_prompt_name="q"), {"ignore_prompts": True}),
    Case("lower-case", lowered, quick=True),
    # The directory's own tokenizer.
    Case("added-words", with_words, quick=True),
    Case("cased", plain(tokenizer=tokens.bert_tokenizer(lowercase=False), tokenizer_config={"do_lower_case": False})),
    Case("no-chinese", plain(tokenizer=tokens.bert_tokenizer(handle_chinese_chars=False))),
    Case("prefix-space", plain("roberta", tokenizer=tokens.roberta_tokenizer(add_prefix_space=True))),
    Case("slow-bert", slow_bert(), quick=True),
    Case("slow-cased", slow_bert(do_lower_case=False)),
    Case("slow-chinese", slow_bert(tokenize_chinese_chars=False)),
    Case("slow-accents", slow_bert(strip_accents=False)),
    Case("slow-added", slow_added),
    Case("slow-roberta", slow_roberta),
    Case("slow-xlm-roberta", slow_pieces("xlm-roberta", "sentencepiece.bpe.model", "XLMRoberta")),
    Case("slow-albert", slow_pieces("albert", "spiece.model", "Albert")),
    Case("separator-names", separators_of_other_names),
)  # fmt: skip
