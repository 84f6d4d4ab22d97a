"""Pack what `distil_roberta.py` needs: byte-level BPE, and pairs tokenised for teacher and learner.

    python pack_roberta.py --data DIRECTORY --weights CACHE --unlabelled new.jsonl.gz … \
        --output roberta.bin --tokenizer pieces.json

The teacher is the `nli-minilm` that is kept. Each text has its word-pieces, its byte-level pieces,
and the word-piece that ends at the same letter as each byte-level piece.
"""

import argparse
from pathlib import Path

import numpy as np
from names import TABLES, full_name, keras_names, to_torch
from pack import HELD_OUT, REPORTED, TRAINING, folder_of, without_texts_of
from packing import Array, write_packed
from semserve_export.data.pairs import Pair, read_pairs, read_unlabelled
from semserve_export.models.byte_pair_start import SPECIAL, vectors_of
from semserve_export.models.delta_adapter import read_adapter
from semserve_export.models.loaded_model import load_base_classifier, load_recipe_tokenizer
from semserve_export.recipes import NLI_MINILM
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

PIECES = 16_000
POSITIONS = 256  # of the learner
MAX_TOKENS = 96  # of a pair in byte-level pieces; longer ones are not learnt from
LONGEST_TEXT = 250  # pieces of a text; the rest is left out
NO_MATE = 255  # of a byte-level piece that ends inside a word-piece


def main() -> None:
    """Read, learn the pieces, tokenise, and write one file."""
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "weights", "output", "tokenizer"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument("--unlabelled", type=Path, nargs="*", default=[])
    options = arguments.parse_args()
    labels = NLI_MINILM.spec.labels or ()
    held_out = read_pairs([options.data / HELD_OUT], labels)
    reported = read_pairs([options.data / REPORTED], labels)
    training = read_pairs([options.data / name for name in TRAINING], labels)
    unlabelled = read_unlabelled(options.unlabelled)
    labelled = without_texts_of(held_out, training.pairs)
    sets: dict[str, list[Pair]] = {
        "labelled": labelled,
        "unlabelled": without_texts_of(held_out, unlabelled.pairs),
        "snli_dev": list(held_out.pairs),
        "mnli_val": list(reported.pairs),
    }
    learnt = learn_pieces(sorted({t for p in labelled for t in (p.premise, p.hypothesis)}))
    learnt.save(str(options.tokenizer))
    folder = folder_of(NLI_MINILM, options.weights)
    arrays = tokenised(sets, learnt, load_recipe_tokenizer(NLI_MINILM, folder))
    arrays |= weights_of(folder, learnt)
    facts = {
        "training_files": dict(training.sha256),
        "unlabelled_files": dict(unlabelled.sha256),
        "validation_files": dict(held_out.sha256),
        "reported_files": dict(reported.sha256),
        "heads": 12,
        "max_tokens": MAX_TOKENS,
        "pieces": learnt.get_vocab_size(),
    }
    write_packed(options.output, arrays, facts)
    print({name: len(arrays[f"data/{name}/label"]) for name in sets}, facts["pieces"])


def learn_pieces(texts: list[str]) -> Tokenizer:
    """Learn byte-level BPE; all 256 bytes are in the vocabulary, so that no text is lost."""
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learnt.train_from_iterator(texts, trainer)
    return learnt


def pieces_of(learnt: Tokenizer) -> list[str]:
    """Return the byte-level pieces in the order of their ids."""
    ids = learnt.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def tokenised(sets: dict[str, list[Pair]], learnt: Tokenizer, words: Tokenizer) -> dict[str, Array]:
    """Tokenise each text once for both; return the arrays."""
    texts = list(
        dict.fromkeys(t for s in sets.values() for p in s for t in (p.premise, p.hypothesis))
    )
    place = {text: number for number, text in enumerate(texts)}
    tokens: dict[str, list[Array]] = {"theirs": [], "ours": [], "mates": []}
    for start in range(0, len(texts), 20_000):
        some = texts[start : start + 20_000]
        teachers = words.encode_batch(some, add_special_tokens=False)
        learners = learnt.encode_batch(some, add_special_tokens=False)
        for teacher, learner in zip(teachers, learners, strict=True):
            ends = {end: n for n, (_, end) in enumerate(teacher.offsets[:LONGEST_TEXT])}
            mates = [ends.get(end, NO_MATE) for _, end in learner.offsets[:LONGEST_TEXT]]
            tokens["theirs"].append(np.array(teacher.ids[:LONGEST_TEXT], np.uint16))
            tokens["ours"].append(np.array(learner.ids[:LONGEST_TEXT], np.uint16))
            tokens["mates"].append(np.array(mates, np.uint8))
    sizes = {side: np.array([len(row) for row in tokens[side]]) for side in ("theirs", "ours")}
    arrays = {f"data/{side}": np.concatenate(parts) for side, parts in tokens.items()}
    arrays |= {f"data/{side}_lengths": size.astype(np.uint8) for side, size in sizes.items()}
    for name, pairs in sets.items():
        sides = [
            np.array([place[getattr(pair, side)] for pair in pairs], np.int32)
            for side in ("premise", "hypothesis")
        ]
        label = np.array([getattr(pair, "label", -1) for pair in pairs], np.int8)
        if name in ("labelled", "unlabelled"):
            short = sizes["ours"][sides[0]] + sizes["ours"][sides[1]] <= MAX_TOKENS - 4
            sides, label = [side[short] for side in sides], label[short]
        arrays |= {f"data/{name}/a": sides[0], f"data/{name}/b": sides[1]}
        arrays[f"data/{name}/label"] = label
    return arrays


def weights_of(folder: Path, learnt: Tokenizer) -> dict[str, Array]:
    """Return the teacher's weights, and the tables that the learner begins with."""
    model = load_base_classifier(NLI_MINILM, folder, 0, "float32")
    values = {variable.path: np.array(variable) for variable in model.weights}
    if NLI_MINILM.adapter:
        values |= read_adapter(NLI_MINILM.adapter, model)
    arrays = {
        f"teacher/{name}": to_torch(
            name, [values[full_name(suffix, values)] for suffix in suffixes]
        )
        for name, suffixes in keras_names("bert", 6).items()
    }
    for name, suffix in TABLES.items():
        arrays[f"teacher/{name}"] = values[full_name(suffix, values)]
    teacher_vocabulary = load_recipe_tokenizer(NLI_MINILM, folder).get_vocab()
    segment = arrays["teacher/segments.weight"][0]
    arrays["learner/positions.weight"] = arrays["teacher/positions.weight"][:POSITIONS] + segment
    arrays["learner/words.weight"] = vectors_of(
        pieces_of(learnt), teacher_vocabulary, arrays["teacher/words.weight"]
    )
    return arrays


if __name__ == "__main__":
    main()
