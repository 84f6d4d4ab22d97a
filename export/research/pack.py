"""Pack what the training on a GPU needs: base weights, and pairs tokenised by the product itself.

    python pack.py --data DIRECTORY --weights CACHE --unlabelled new.jsonl.gz … --output packed.bin

The three models have the same word-pieces under other numbers. The packed ids are numbers of
their own: 0 padding, 1 [CLS], 2 [SEP], then the word-pieces that the texts use.
"""

import argparse
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from packing import Array, write_packed
from safetensors.numpy import load_file
from semserve_export.data.pairs import Pair, PairFiles, read_pairs, read_unlabelled, words_of
from semserve_export.files.digest import sha256_of
from semserve_export.models.loaded_model import VOCABULARY_FILES, load_recipe_tokenizer
from semserve_export.recipes import NLI_BERT_TINY, NLI_MINILM, NLI_MPNET, Recipe
from semserve_export.tokenizers.bert_wordpiece import encode, read_vocabulary

RECIPES = {"mpnet": NLI_MPNET, "minilm": NLI_MINILM, "tiny": NLI_BERT_TINY}
SPECIAL = {"mpnet": ("<pad>", "<s>", "</s>")}
BERT_SPECIAL = ("[PAD]", "[CLS]", "[SEP]")
TRAINING = (
    "snli_train_20k_subset.tsv.gz",
    "snli_counterfactual_train.tsv.gz",
    "mnli_train_20k.tsv.gz",
)
HELD_OUT, REPORTED = "snli_dev.tsv.gz", "mnli_val_5k.tsv.gz"
MAX_TOKENS = 96  # of a pair; longer ones are not learnt from
POSITIONS = 100  # rows of the position tables that are packed
LONGEST_TEXT = 250  # tokens


def folder_of(recipe: Recipe, cache: Path) -> Path:
    """Return where the downloads of `semserve-export` keep the weights."""
    return cache / f"{recipe.weights.name}-{recipe.weights.version}"


def main() -> None:
    """Read, tokenise, and write one file."""
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "weights", "output"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument("--unlabelled", type=Path, nargs="*", default=[])
    options = arguments.parse_args()
    labels = NLI_MINILM.spec.labels or ()
    held_out = read_pairs([options.data / HELD_OUT], labels)
    reported = read_pairs([options.data / REPORTED], labels)
    training = read_pairs([options.data / name for name in TRAINING], labels)
    unlabelled = read_unlabelled(options.unlabelled)
    kept_pairs = (
        without_texts_of(held_out, training.pairs),
        without_texts_of(held_out, unlabelled.pairs),
    )
    sets = {"labelled": kept_pairs[0], "unlabelled": kept_pairs[1]}
    sets |= {"snli_dev": held_out.pairs, "mnli_val": reported.pairs}
    folders = {name: folder_of(recipe, options.weights) for name, recipe in RECIPES.items()}
    arrays, pieces = tokenised(sets, folders)
    for name, folder in folders.items():
        arrays |= {f"{name}/{key}": value for key, value in base_of(name, folder, pieces).items()}
    facts = {
        "training_files": dict(training.sha256),
        "unlabelled_files": dict(unlabelled.sha256),
        "validation_files": dict(held_out.sha256),
        "reported_files": dict(reported.sha256),
        "base_sha256": {n: sha256_of(f / "model.safetensors") for n, f in folders.items()},
        "pieces": pieces,
        "heads": {"mpnet": 12, "minilm": 12, "tiny": 2},
        "epsilon": {"mpnet": 1e-5, "minilm": 1e-12, "tiny": 1e-12},
        "activation": {name: recipe.spec.activation for name, recipe in RECIPES.items()},
        "max_tokens": MAX_TOKENS,
    }
    write_packed(options.output, arrays, facts)
    counts = {name: len(arrays[f"data/{name}/a"]) for name in sets}
    print(counts, f"{len(pieces)} word-pieces, {options.output.stat().st_size:,} bytes")


def without_texts_of(held_out: PairFiles, pairs: Iterable[Pair]) -> list[Pair]:
    """Leave out pairs with a premise of the held-out ones on either side, as `train` does."""
    premises = {words_of(pair.premise) for pair in held_out.pairs}
    is_held: dict[str, bool] = {}

    def held(text: str) -> bool:
        if text not in is_held:
            is_held[text] = words_of(text) in premises
        return is_held[text]

    return [pair for pair in pairs if not held(pair.premise) and not held(pair.hypothesis)]


def tokenised(
    sets: dict[str, list[Pair]], folders: dict[str, Path]
) -> tuple[dict[str, Array], list[str]]:
    """Tokenise each text once; return the arrays, and the word-pieces from id 3 on."""
    texts = list(
        dict.fromkeys(t for s in sets.values() for p in s for t in (p.premise, p.hypothesis))
    )
    place = {text: number for number, text in enumerate(texts)}
    tokenizer = load_recipe_tokenizer(NLI_MINILM, folders["minilm"])
    vocabulary = vocabulary_of("minilm", folders)
    check_same_pieces(texts[:: max(1, len(texts) // 2000)], vocabulary, folders)
    flat, lengths = [], []
    for start in range(0, len(texts), 20_000):
        for encoding in encode(tokenizer, texts[start : start + 20_000], LONGEST_TEXT + 2):
            flat.append(np.array(encoding.token_ids[1:-1], np.int32))
            lengths.append(len(encoding) - 2)
    joined = np.concatenate(flat)
    used, compact = np.unique(joined, return_inverse=True)
    size = np.array(lengths)
    arrays: dict[str, Array] = {
        "data/tokens": (compact + 3).astype(np.uint16),
        "data/lengths": size.astype(np.uint8),
    }
    for name, pairs in sets.items():
        sides = [
            np.array([place[getattr(pair, side)] for pair in pairs], np.int32)
            for side in ("premise", "hypothesis")
        ]
        label = np.array([getattr(pair, "label", -1) for pair in pairs], np.int8)
        if name in ("labelled", "unlabelled"):
            short = size[sides[0]] + size[sides[1]] <= MAX_TOKENS - 4
            sides, label = [side[short] for side in sides], label[short]
        arrays |= {f"data/{name}/a": sides[0], f"data/{name}/b": sides[1]}
        arrays[f"data/{name}/label"] = label
    return arrays, [vocabulary[number] for number in used]


def check_same_pieces(sample: list[str], vocabulary: list[str], folders: dict[str, Path]) -> None:
    """Prove that every model cuts texts and pairs into the same word-pieces."""
    expected = None
    for name, recipe in RECIPES.items():
        pieces = vocabulary_of(name, folders)
        pairs = list(pairwise(sample))
        special = set(SPECIAL.get(name, BERT_SPECIAL))
        cut = [
            [pieces[number] for number in encoding.token_ids if pieces[number] not in special]
            for encoding in encode(load_recipe_tokenizer(recipe, folders[name]), pairs, 384)
        ]
        expected = expected or cut
        if cut != expected:
            raise SystemExit(f"{name} cuts texts into other word-pieces")
    if not set(vocabulary) - set(BERT_SPECIAL) <= set(vocabulary_of("mpnet", folders)) | {"[MASK]"}:
        raise SystemExit("mpnet lacks word-pieces")


def vocabulary_of(name: str, folders: dict[str, Path]) -> list[str]:
    """Return a model's word-pieces in the order of its own ids."""
    file = next(path for path in VOCABULARY_FILES if path in RECIPES[name].weights.sha256)
    return read_vocabulary(folders[name] / file)


def rows_of(name: str, folder: Path, pieces: list[str]) -> list[int]:
    """Return a model's own ids of the packed ids 0, 1, 2, …."""
    ids = {piece: number for number, piece in enumerate(vocabulary_of(name, {name: folder}))}
    return [ids[piece] for piece in (*SPECIAL.get(name, BERT_SPECIAL), *pieces)]


def base_of(name: str, folder: Path, pieces: list[str]) -> dict[str, Array]:
    """Return a model's weights under the names of `encoder.py`; products are [outputs, inputs]."""
    file = load_file(folder / "model.safetensors")
    file = {key.removeprefix("bert."): value for key, value in file.items()}
    mpnet = name == "mpnet"

    def norm(prefix: str) -> dict[str, Array]:
        new, old = ("weight", "bias"), ("gamma", "beta")
        suffixes = new if f"{prefix}.weight" in file else old
        return {
            kind: file[f"{prefix}.{suffix}"] for kind, suffix in zip(new, suffixes, strict=True)
        }

    embeddings = "embeddings.word_embeddings.weight"
    first = 2 if mpnet else 0  # MPNet's first two rows belong to padding
    arrays = {
        "words.weight": file[embeddings][rows_of(name, folder, pieces)],
        "positions.weight": file["embeddings.position_embeddings.weight"][
            first : first + POSITIONS
        ],
        **{f"norm.{key}": value for key, value in norm("embeddings.LayerNorm").items()},
    }
    if mpnet:
        arrays["relative"] = file["encoder.relative_attention_bias.weight"]
    else:
        arrays["segments.weight"] = file["embeddings.token_type_embeddings.weight"]
        width = file[embeddings].shape[1]
        arrays["pooler.weight"] = file.get("pooler.dense.weight", np.eye(width, dtype=np.float32))
        arrays["pooler.bias"] = file.get("pooler.dense.bias", np.zeros(width, np.float32))
    place = 0
    while f"encoder.layer.{place}.intermediate.dense.weight" in file:
        layer, ours = f"encoder.layer.{place}", f"layers.{place}"
        letters = [f"attn.{part}" for part in "qkv"]
        words = [f"self.{part}" for part in ("query", "key", "value")]
        for kind in ("weight", "bias"):
            parts = [file[f"{layer}.attention.{n}.{kind}"] for n in (letters if mpnet else words)]
            arrays[f"{ours}.qkv.{kind}"] = np.concatenate(parts)
            output = "attn.o" if mpnet else "output.dense"
            arrays[f"{ours}.output.{kind}"] = file[f"{layer}.attention.{output}.{kind}"]
            arrays[f"{ours}.up.{kind}"] = file[f"{layer}.intermediate.dense.{kind}"]
            arrays[f"{ours}.down.{kind}"] = file[f"{layer}.output.dense.{kind}"]
        middle = "attention.LayerNorm" if mpnet else "attention.output.LayerNorm"
        for key, value in norm(f"{layer}.{middle}").items():
            arrays[f"{ours}.attention_norm.{key}"] = value
        for key, value in norm(f"{layer}.output.LayerNorm").items():
            arrays[f"{ours}.norm.{key}"] = value
        place += 1
    return arrays


if __name__ == "__main__":
    main()
