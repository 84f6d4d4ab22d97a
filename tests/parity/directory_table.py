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
    cross_encoder,
    heads,
    lowered,
    normed_with_int8,
    plain,
    prompted,
    sentences,
    sharded,
    softmax,
    sparse,
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


def identity(x: Array) -> Array:
    return x


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
    Case("multi-regression", heads("bert", 3, config={"problem_type": "regression"}, scores=identity)),
    Case("raw-scores", heads("bert", 2, config={"function_to_apply": "none"}, scores=identity)),
    # One output, and cross-encoders.
    Case("one-output", heads("distilbert", 1, scores=sigmoid), quick=True),
    Case("one-label", heads("bert", 1, config={"problem_type": "single_label_classification"}, scores=sigmoid)),
    Case("regression", heads("roberta", 1, config={"problem_type": "regression"}, scores=identity), quick=True),
    Case("stated-scores", heads("albert", 1, scores=identity), {"scores": "none"}),
    Case("cross-encoder-3", cross_encoder("linear.Identity", scores=identity, saved_by="3"), quick=True),
    Case("cross-encoder-4", cross_encoder("activation.Sigmoid", scores=sigmoid, saved_by="4"), quick=True),
    Case("cross-encoder-5", cross_encoder("linear.Identity", scores=identity, saved_by="5"), quick=True),
    Case("cross-encoder-labels", cross_encoder("linear.Identity", scores=softmax, saved_by="4", classes=3)),
    Case("cross-encoder-independent", cross_encoder("activation.Sigmoid", scores=sigmoid, saved_by="3", classes=2)),
    # SPLADE: the heads of masked language models.
    *(Case(f"sparse-{family}", sparse(family), {"task": "sparse_embedding"}, quick=family != "xlm-roberta") for family in hf.FAMILIES),
    Case("sparse-untied", sparse("bert", untied=True), {"task": "sparse_embedding"}),
    Case("sparse-modules-old", sparse("distilbert", new=False, variants=("fused",)), quick=True),
    Case("sparse-modules-new-sum", sparse("bert", new=True, pooling="sum", variants=("fused",)), quick=True),
    Case("sparse-twice-log", sparse("roberta", new=False, logarithms=2)),
    Case("sparse-sum-twice-log", sparse("bert", new=True, pooling="sum", logarithms=2)),
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
    Case("layer-norm-int8", normed_with_int8),
    Case("prompts", sentences("mean", prompts={"query": "query: "})),
    Case("default-prompt", prompted("q: ", sentences("mean", prompts={"q": "q: "}, default_prompt_name="q")), quick=True),
    Case("stated-prompt", prompted("cat ", sentences("cls")), {"prompts": {"a": "cat ", "b": ""}, "default_prompt": "a"}),
    Case("ignored-prompt", sentences("mean", prompts={"q": "q: "}, default_prompt_name="q"), {"ignore_prompts": True}),
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
