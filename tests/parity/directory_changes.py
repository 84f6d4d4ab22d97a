"""Changes of a directory of transformers, each of which an export must refuse."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from parity import hugging_face as hf
from parity import hugging_face_tokenizers as tokens
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken

NEVER = "sentence_transformers.models."


def change(file: str, **keys: Any) -> Any:
    """Change keys of a JSON file of a BERT encoder's directory."""

    def write(path: Path) -> None:
        hf.write_directory(path)
        content = json.loads((path / file).read_text()) if (path / file).is_file() else {}
        hf.write_json(path / file, content | keys)

    return write


def config(**keys: Any) -> Any:
    return change("config.json", **keys)


def head(classes: int = 3, **keys: Any) -> Any:
    return lambda path: hf.write_directory(path, classes=classes, config=keys)


def slow(**keys: Any) -> Any:
    """Leave vocab.txt and tokenizer_config.json alone."""

    def write(path: Path) -> None:
        hf.write_directory(path, tokenizer_config=keys)
        (path / "tokenizer.json").unlink()
        (path / "vocab.txt").write_text("\n".join(tokens.WORD_PIECES) + "\n", encoding="utf-8")

    return write


def tensors(**changes: Any) -> Any:
    """Add, change, or with None take out tensors of a BERT encoder; _ stands for a dot."""

    def write(path: Path) -> None:
        hf.write_directory(path)
        file = path / "model.safetensors"
        stored = load_file(file) | {
            name.replace("__", "."): value for name, value in changes.items()
        }
        save_file({name: value for name, value in stored.items() if value is not None}, file)

    return write


def modules(*kinds: str, pooling: Any = None, dense: Any = None, **settings: Any) -> Any:
    """Write a sentence-transformers directory of these modules behind the Transformer."""

    def write(path: Path) -> None:
        hf.write_directory(path)
        hf.write_modules(path, *kinds, **settings)
        hf.write_pooling(path, "mean")
        if pooling:
            hf.write_json(path / "1_Pooling" / "config.json", pooling)
        if dense is not None:
            hf.write_dense(path, hf.HIDDEN, 8, "activation.Tanh")
            file = path / "2_Dense" / "config.json"
            hf.write_json(file, json.loads(file.read_text()) | dense)

    return write


def listed(*modules: dict[str, Any]) -> Any:
    def write(path: Path) -> None:
        hf.write_directory(path)
        hf.write_json(path / "modules.json", list(modules))

    return write


def content(file: str, written: bytes | None) -> Any:
    """Put other bytes in a file's place, or take it away."""

    def write(path: Path) -> None:
        hf.write_directory(path)
        (path / file).unlink(missing_ok=True)
        if written is not None:
            (path / file).write_bytes(written)

    return write


def renamed(path: Path) -> None:
    hf.write_directory(path)
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def index_outside(path: Path) -> None:
    content("model.safetensors", None)(path)
    where = {"weight_map": {"embeddings.LayerNorm.weight": "../other.safetensors"}}
    hf.write_json(path / "model.safetensors.index.json", where)


def edited_tokenizer(change: Any) -> Any:
    def write(path: Path) -> None:
        hf.write_directory(path)
        definition = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
        change(definition)
        hf.write_json(path / "tokenizer.json", definition)

    return write


def many_words(path: Path) -> None:
    tokenizer = tokens.bert_tokenizer()
    tokenizer.add_tokens([AddedToken(f"word{place}") for place in range(9)])
    hf.write_directory(path, tokenizer=tokenizer, rows=len(tokens.WORD_PIECES))


def named_labels(*names: Any) -> Any:
    return head(len(names), id2label={str(place): name for place, name in enumerate(names)})


def dense_without_numbers(path: Path) -> None:
    modules("Pooling", "Dense")(path)
    hf.write_dense(path, hf.HIDDEN, 8, "activation.Tanh")
    file = path / "2_Dense" / "model.safetensors"
    save_file(load_file(file) | {"linear.bias": np.full(8, np.inf, np.float32)}, file)


def relabelled(path: Path) -> None:
    hf.write_directory(path, classes=3, config={"id2label": {"0": "a", "1": "b", "3": "c"}})


def of(family: str, **config: Any) -> Any:
    return lambda path: hf.write_directory(path, family, config=config)


def language(family: str, **settings: Any) -> Any:
    return lambda path: hf.write_directory(path, family, **settings)


def splade(**settings: Any) -> Any:
    """Write a sparse encoder with these settings of its pooling."""

    def write(path: Path) -> None:
        hf.write_directory(path, language=True)
        hf.write_splade(path, new=False, **settings)

    return write


def cross_encoder_prompt(path: Path) -> None:
    hf.write_directory(path, classes=1)
    hf.write_modules(
        path, model_type="CrossEncoder", prompts={"q": "query: "}, default_prompt_name="q"
    )


MODULE = {"idx": 0, "name": "0", "path": "", "type": f"{NEVER}Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{NEVER}Pooling"}
MEAN = {"embedding_dimension": 16, "pooling_mode": "mean"}
LEFT = {"direction": "Left", "max_length": 20, "strategy": "LongestFirst", "stride": 0}
MULTI = "multi_label_classification"
