"""What a directory says and cannot be honoured is refused in one line that names the file and key."""

# ruff: noqa: E501 - tables have a case a line

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from parity import hugging_face as hf
from parity.directory_changes import (
    LEFT,
    MEAN,
    MODULE,
    MULTI,
    NEVER,
    POOLING,
    change,
    config,
    content,
    cross_encoder_prompt,
    dense_without_numbers,
    edited_tokenizer,
    head,
    index_outside,
    language,
    listed,
    many_words,
    modules,
    named_labels,
    of,
    relabelled,
    renamed,
    slow,
    splade,
    tensors,
)
from semserve_export.errors import ExportError
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model


@dataclass(frozen=True)
class Refused:
    name: str
    write: Any
    message: str
    flags: dict[str, Any] | None = None


CASES = (
    # config.json
    Refused("relative", config(position_embedding_type="relative_key_query"), "position_embedding_type 'relative_key_query'"),
    Refused("quick-gelu", config(hidden_act="quick_gelu"), "hidden_act 'quick_gelu' cannot be exported"),
    Refused("decoder", config(is_decoder=True), "is_decoder True"),
    Refused("cross-attention", config(add_cross_attention=True), "add_cross_attention True"),
    Refused("quantised", config(quantization_config={"bits": 4}), "quantization_config"),
    Refused("custom-code", config(auto_map={"AutoModel": "my.Model"}), "auto_map"),
    Refused("pruned", config(pruned_heads={"0": [1]}), "pruned_heads"),
    Refused("unknown-key", config(use_rotary=True), "use_rotary is not known for bert"),
    Refused("vocabulary", config(vocab_size=200), "word_embeddings.weight has the shape"),
    Refused("positions", config(max_position_embeddings=40), "position_embeddings.weight has the shape"),
    Refused("heads", config(num_attention_heads=5), "16 hidden units cannot be shared by 5 heads"),
    Refused("count", config(num_hidden_layers="2"), "num_hidden_layers is '2'"),
    Refused("fewer-layers", config(num_hidden_layers=1), "more than config.json's 1 layers"),
    Refused("more-layers", config(num_hidden_layers=3), "the weights lack encoder.layer.2"),
    Refused("groups", of("albert", num_hidden_groups=2, num_hidden_layers=2, inner_group_num=0), "inner_group_num is 0"),
    Refused("deberta-without-relative-attention", of("deberta-v2", relative_attention=False), "relative_attention False is none of a DeBERTa-v3"),
    Refused("deberta-of-version-2", of("deberta-v2", conv_kernel_size=3), "conv_kernel_size 3 is none of a DeBERTa-v3"),
    Refused("deberta-positions", of("deberta-v2", max_relative_positions=9), "max_relative_positions is not"),
    Refused("deberta-keys", of("deberta-v2", share_att_key=False), "share_att_key False is none"),
    Refused("gpt", config(model_type="gpt2"), "holds gpt2, which cannot be exported"),
    Refused("mpnet", config(model_type="mpnet"), "holds mpnet, which cannot be exported"),
    Refused("no-json", content("config.json", b"{"), "config.json: is no JSON"),
    Refused("tokens", config(architectures=["BertForTokenClassification"]), "BertForTokenClassification cannot be exported"),
    Refused("questions", config(architectures=["BertForQuestionAnswering"]), "BertForQuestionAnswering cannot be exported"),
    Refused("language-model", config(architectures=["BertForMaskedLM"]), "BertForMaskedLM is a language model; pass --task"),
    Refused("no-architecture", config(architectures=None), "architectures names nothing; pass --task"),
    Refused("two-architectures", config(architectures=["BertModel", "BertForMaskedLM"]), "pass --task"),
    Refused("odd-kinds", change("tokenizer_config.json", added_tokens_decoder=[1]), "cannot be loaded: "),
    Refused("odd-length", change("config.json", layer_norm_eps="small"), "layer_norm_eps is 'small'"),
    # Heads
    Refused("scores-contradict", head(1, problem_type="regression", sbert_ce_default_activation_function="torch.nn.modules.activation.Sigmoid"), "contradict each other; pass --scores"),
    Refused("softmax-of-one", head(1, sbert_ce_default_activation_function="torch.nn.modules.activation.Softmax"), "the softmax of one output is always 1"),
    Refused("tanh-scores", head(1, sentence_transformers={"activation_fn": "torch.nn.modules.activation.Tanh"}), "activation_fn 'torch.nn.modules.activation.Tanh' cannot be served"),
    Refused("other-scores-stated", head(1, problem_type="regression"), "--scores sigmoid: config.json: problem_type regression", {"scores": "sigmoid"}),
    Refused("labels-of-one", head(1), "--label is for a classifier, and the model is a model of one output", {"labels": ("a",)}),
    Refused("score-of-two", head(2), "--task score: the head has 2 outputs, so the model is a classifier", {"task": "score"}),
    Refused("classes-of-one", head(1), "--task classification: the head has 1 output, so", {"task": "classification"}),
    Refused("cross-encoder-prompt", cross_encoder_prompt, "puts a prompt before the first text of each pair"),
    Refused("activation-of-scores", head(2, sentence_transformers={"activation_fn": "torch.nn.modules.activation.ReLU"}), "activation_fn"),
    Refused("contradicting-scores", head(2, problem_type=MULTI, function_to_apply="softmax"), "contradict each other"),
    Refused("labels", relabelled, "id2label does not name the 3 outputs"),
    Refused("number-of-labels", head(3, num_labels=2), "num_labels is 2, and the head has 3 outputs"),
    Refused("no-head", config(architectures=["BertForSequenceClassification"]), "the weights lack classifier.weight"),
    Refused("label-without-a-name", named_labels("a", None), "id2label names output 1 None, no text"),
    Refused("equal-labels", named_labels("a", "a"), "labels .id2label or --label.: 'a' is there twice"),
    Refused("half-a-letter", named_labels("a", "b\ud83d"), "'b.ud83d' is no text in Unicode"),
    Refused("given-labels", head(3), "3 classes need as many labels", {"labels": ("a", "b")}),
    # Tensors
    Refused("other-head", tensors(qa_outputs__weight=np.ones((2, 16), np.float32)), "have qa_outputs.weight, which nothing"),
    Refused("needless-classifier", tensors(classifier__weight=np.ones((2, 16), np.float32)), "have classifier.weight, which nothing"),
    Refused("missing", tensors(encoder__layer__1__output__dense__bias=None), "lack encoder.layer.1.output.dense.bias"),
    Refused("not-finite", tensors(pooler__dense__bias=None, embeddings__LayerNorm__bias=np.full(16, np.nan, np.float32)), "LayerNorm.bias has a number that is not finite"),
    Refused("int8", tensors(embeddings__LayerNorm__bias=np.ones(16, np.int8)), "is I8; quantised weights"),
    Refused("twice", tensors(module__embeddings__LayerNorm__bias=np.ones(16, np.float32)), "which one"),
    Refused("cut", content("model.safetensors", b"\x00" * 100), "model.safetensors: "),
    Refused("git-lfs", content("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), "is a pointer of git-lfs"),
    Refused("no-weights", content("model.safetensors", None), "model.safetensors: is missing"),
    Refused("pickle", renamed, "pytorch_model.bin: is a format that is not read"),
    Refused("index", index_outside, "names ../other.safetensors, which is no file"),
    Refused("adapter", content("adapter_config.json", b"{}"), "an adapter .PEFT. lies in the directory"),
    # Modules
    *(
        Refused(kind, listed(MODULE, {**MODULE, "idx": 1, "type": NEVER + kind}), rf"{kind} cannot be exported; there are")
        for kind in ("Asym", "Router", "LSTM", "CNN", "WordEmbeddings", "BoW", "WeightedLayerPooling", "StaticEmbedding")
    ),
    Refused("custom-module", listed({**MODULE, "type": "custom_st.Transformer"}), "custom_st.Transformer cannot be exported"),
    Refused("kwargs", listed({**MODULE, "kwargs": ["task"]}, POOLING), "takes kwargs"),
    Refused("outside", listed({**MODULE, "path": "../other"}, POOLING), "is outside the directory"),
    Refused("other-order", listed(POOLING, MODULE), "idx contradicts the order of the list"),
    Refused("same-name", listed(MODULE, {**POOLING, "name": "0"}), "two modules have the name '0'"),
    Refused("no-pooling", listed(MODULE), "the second module, and no other, must be a Pooling"),
    Refused("no-transformer", listed({**POOLING, "idx": 0}), "must be a Transformer"),
    Refused("mode", modules("Pooling", pooling={**MEAN, "pooling_mode": "attention"}), "pooling_mode 'attention' is not known"),
    Refused("joined-mode", modules("Pooling", pooling={**MEAN, "pooling_mode": ["mean", "min"]}), "is not known"),
    Refused("list-of-modes", modules("Pooling", pooling={**MEAN, "pooling_mode": [["mean"]]}), "pooling_mode .* is not known"),
    Refused("pooling-width", modules("Pooling", pooling={**MEAN, "embedding_dimension": 8}), "the pooling is of 8 dimensions"),
    Refused("dense-activation", modules("Pooling", "Dense", dense={"activation_function": "torch.nn.modules.activation.Mish"}), "Mish' cannot be exported"),
    Refused("dense-residual", modules("Pooling", "Dense", dense={"use_residual": True}), "use_residual True is not known"),
    Refused("dense-input", modules("Pooling", "Dense", dense={"module_input_name": "token_embeddings"}), "module_input_name"),
    Refused("dense-shape", modules("Pooling", "Dense", dense={"out_features": 4}), "the weights differ"),
    Refused("dense-not-finite", dense_without_numbers, "2_Dense/model.safetensors: linear.bias has a number that is not"),
    Refused("dense-bias", modules("Pooling", "Dense", dense={"bias": False}), "the weights are linear.bias"),
    Refused("sparse", modules("Pooling", model_type="SparseEncoder"), "model_type 'SparseEncoder'"),
    Refused("metric", modules("Pooling", similarity_fn_name="maxsim"), "similarity_fn_name 'maxsim'"),
    Refused("prompt-not-pooled", modules("Pooling", prompts={"q": "query: "}, pooling=MEAN | {"include_prompt": False}), "include_prompt false"),
    Refused("no-such-prompt", modules("Pooling", prompts={"q": "query: "}), "--default-prompt d: no prompt has this name; there are q", {"default_prompt": "d"}),
    Refused("prompt-of-a-classifier", head(3), "--prompt is for an embedder, and the model is a classifier", {"prompts": {"q": "q: "}}),
    Refused("order-of-an-embedder", modules("Pooling"), "--pair-order is for a classifier, and the model is an embedder", {"text_order": ("hypothesis", "premise")}),
    Refused("sparse-deberta", language("deberta-v2", classes=3), "deberta-v2: the head of its language model cannot be exported", {"task": "sparse_embedding"}),
    Refused("sparse-without-head", config(), "the weights lack cls.predictions", {"task": "sparse_embedding"}),
    Refused("sparse-tied-differs", language("bert", language=True, untied=True, config={"tie_word_embeddings": True}), "cls.predictions.decoder.weight is not the table of words", {"task": "sparse_embedding"}),
    Refused("sparse-untied-lacks", language("bert", language=True, config={"tie_word_embeddings": False}), "the weights lack cls.predictions.decoder.weight", {"task": "sparse_embedding"}),
    Refused("sparse-strategy", splade(pooling_strategy="mean"), "1_SpladePooling/config.json: pooling_strategy 'mean' is not known: max, sum"),
    Refused("sparse-function", splade(activation_function="gelu"), "activation_function 'gelu' is not known"),
    Refused("sparse-width", splade(word_embedding_dimension=7), "SpladePooling is of 7 dimensions"),
    Refused("sparse-key", splade(top_k=7), "1_SpladePooling/config.json: top_k 7 is not known"),
    Refused("sparse-pooling", splade(), "--pooling is for an embedder, and the model is a sparse embedder", {"pooling": "mean"}),
    Refused("sparse-as-embedder", splade(), "is a sparse embedder's, so --task embedding is not for it", {"task": "embedding"}),
    Refused("unknown-prompt", modules("Pooling", prompts={}, default_prompt_name="q"), "default_prompt_name 'q'"),
    Refused("prompts-list", modules("Pooling", prompts=["query: "]), "prompts is no map of names to texts"),
    Refused("truncate", modules("Pooling", truncate_dim=8), "truncate_dim 8"),
    Refused("pooling-alone", lambda path: (hf.write_directory(path), hf.write_pooling(path, "cls")), "modules.json: is missing"),
    Refused("classifier-of-modules", modules("Pooling"), "is an embedder's", {"task": "classification"}),
    # The tokenizer
    Refused("no-tokenizer", content("tokenizer.json", None), "vocab.txt: is missing, and there is no tokenizer.json"),
    Refused("template", edited_tokenizer(lambda it: it.update(post_processor=None)), "has no post_processor"),
    Refused("bad-model", edited_tokenizer(lambda it: it["model"].update(type="Magic")), "tokenizer.json: "),
    Refused("cut-from-the-start", change("tokenizer_config.json", truncation_side="left"), "truncation_side 'left'"),
    Refused("cut-from-the-start-by-tokenizer-json", edited_tokenizer(lambda it: it.update(truncation=LEFT)), "truncation.direction 'Left'"),
    Refused("length-of-text", change("tokenizer_config.json", model_max_length="512"), "model_max_length is '512'"),
    Refused("id-of-a-word", change("tokenizer_config.json", added_tokens_decoder={"x": {"content": "a"}}), "added_tokens_decoder 'x'"),
    Refused("case", change("tokenizer_config.json", do_lower_case=False), "do_lower_case False contradicts"),
    Refused("chinese", change("tokenizer_config.json", tokenize_chinese_chars=False), "tokenize_chinese_chars False contradicts"),
    Refused("accents", change("tokenizer_config.json", strip_accents=False), "strip_accents False contradicts"),
    Refused("prefix-space", lambda path: hf.write_directory(path, "roberta", tokenizer_config={"add_prefix_space": True}), "add_prefix_space True contradicts"),
    Refused("never-split", slow(never_split=["a-b"]), "never_split .* cannot be honoured"),
    Refused("basic", slow(do_basic_tokenize=False), "do_basic_tokenize false"),
    Refused("japanese", slow(tokenizer_class="BertJapaneseTokenizer"), "BertJapaneseTokenizer cannot be built"),
    Refused("unknown-flag", slow(word_tokenizer_type="mecab"), "word_tokenizer_type 'mecab' cannot be honoured"),
    Refused("more-ids", many_words, "the tokenizer is another model's"),
    # What the command line asks for
    Refused("pair-of-embedder", hf.write_directory, "--pair is for a classifier", {"pair": True}),
    Refused("label-of-embedder", hf.write_directory, "--label is for a classifier", {"labels": ("a", "b")}),
    Refused("pair-of-encoder", head(2), "--pair is for a classifier", {"task": "embedding", "pair": True}),
    Refused("pooling-of-classifier", head(2), "--pooling is for an embedder", {"pooling": "mean"}),
    Refused("length-of-classifier", head(2), "--normalize is for an embedder", {"normalize": False}),
    Refused("too-long", hf.write_directory, "--max-sequence-length 99: the model has 48", {"max_sequence_length": 99}),
    Refused("pooled", lambda path: hf.write_directory(path, "distilbert"), "has no pooler", {"pooling": "pooled"}),
    Refused("accents-of-bpe", lambda path: hf.write_directory(path, "roberta"), "--strip-accents and --split-on-cjk are for", {"strip_accents": True}),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_cannot_be_honoured_is_refused_in_one_line(case, tmp_path):
    case.write(tmp_path / "mine")
    with pytest.raises(ExportError, match=case.message) as raised:
        load_custom_model(ModelOptions(str(tmp_path / "mine"), name="mine", **(case.flags or {})))
    assert 1 == len(str(raised.value).splitlines())
    assert str(raised.value).startswith(str(tmp_path / "mine"))
