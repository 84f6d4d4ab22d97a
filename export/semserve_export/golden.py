"""Golden answers: what Keras itself says about a few texts, for the server to check itself by."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from semserve_export.fidelity import TOLERANCE, Run, scaled_difference
from semserve_export.spec import ModelSpec
from semserve_export.tokenizer import Encoding, Text, encode, pad

SCHEMA_VERSION = 1
PADDED_ENTRIES = 4  # of a padded batch, as in the server's check

TEXTS: tuple[str, ...] = (
    "hello world",
    "a",
    "?",
    "The ferry leaves the harbour at six every morning.",
    "Each day at six o'clock the boat departs from the port.",
    "Nobody has seen the lighthouse keeper since Tuesday.",
    "Does this train stop in the old town?",
    "Über den Dächern von Zürich kreisen Störche, naïve façades below.",
    "今日は図書館で本を読みました。",
    "오늘 아침에는 비가 왔다.",
    "Здравствуйте, сколько стоит этот билет?",
    "مرحبا بالعالم",
    "Good news 🎉 the bakery 👩‍🍳 opens again 🥐!",
    "[CLS] this text names [SEP] the separators [PAD] itself [MASK] [UNK]",
    "tabs\tand\nnew lines\r\nand\u00a0hard\u200bspaces",
    "ﬁne ½ cup of №5 … “quoted” — and ＦＵＬＬＷＩＤＴＨ",  # noqa: RUF001 - the odd letters are the test
    "x" * 120,
    "3.14159 kg/m² at -40 °C costs $1,299.99 (#42)!?",
    "Click-to-run, state-of-the-art, don't, won't, O'Neill's, e-mail@example.org",
    (
        "A small boat, painted green by the neighbour's children last summer, drifted slowly past"
        " the mill while the swallows dived under the bridge and the miller's dog, too lazy to"
        " bark, watched it go until the bend of the river hid it from sight."
    ),
    " ".join(f"In chapter {chapter} the explorers cross another valley." for chapter in range(60)),
)

PAIRS: tuple[tuple[str, str], ...] = (
    ("It is raining", "It is sunny"),
    (
        "I am taking the subway to Times Square.",
        "I am using public transport to reach midtown.",
    ),
    ("A cat is sleeping on the windowsill.", "An animal is resting."),
    ("A cat is sleeping on the windowsill.", "The cat dreams of mice."),
    ("A cat is sleeping on the windowsill.", "The windowsill is empty."),
    ("Two carpenters are repairing a wooden bridge.", "People are working outdoors."),
    ("The orchestra plays in an empty hall.", "Thousands of listeners applaud."),
    ("yes", "no"),
    ("a", "?"),
    ("Der Bäcker öffnet früh.", "The bakery is open in the morning."),
    ("猫が窓辺で寝ています。", "動物が休んでいます。"),
    ("A chef 👩‍🍳 bakes bread 🥖.", "Someone is cooking 🎉"),
    ("This premise contains [SEP] as text.", "[SEP] [CLS] [PAD]"),
    ("tabs\tand\nnew lines", "hard\u00a0spaces and “quotes” …"),
    ("x" * 120, "y" * 20),
    ("The bridge is 1,280 m long and opened in 1937.", "It is more than a kilometre long."),
    (
        (
            "The village choir, which had not sung in public since the flood, rehearsed every"
            " Thursday in the barn behind the school, with the doors wide open so that the"
            " neighbours could hear whether the tenors had finally learnt their part."
        ),
        "The choir practises once a week.",
    ),
    (
        "A gardener waters the roses.",
        " ".join(f"On day {day} the roses were watered again." for day in range(50)),
    ),
    (
        " ".join(f"Room {room} holds one large painting." for room in range(60)),
        " ".join(f"Visitor {visitor} looked at every painting." for visitor in range(60)),
    ),
)


def golden_texts(spec: ModelSpec) -> tuple[Text, ...]:
    """Return the texts, or the pairs, that suit the model."""
    return PAIRS if spec.pair else TEXTS


def golden_answers(spec: ModelSpec, tokenizer: Tokenizer, run: Run) -> dict[str, Any]:
    """Ask Keras about each text alone and unpadded, and return golden.json's content."""
    cases = []
    for text in golden_texts(spec):
        (encoding,) = encode(tokenizer, [text], spec.max_sequence_length)
        (row,) = run(pad([encoding]))
        cases.append(
            {
                **_named(text),
                "token_ids": list(encoding.token_ids),
                "segment_ids": list(encoding.segment_ids),
                spec.output: [float(np.float32(value)) for value in row],
            }
        )
    return {"schema_version": SCHEMA_VERSION, "tolerance": TOLERANCE, "cases": cases}


def golden_differences(
    cases: Sequence[dict[str, Any]], output: str, encodings: Sequence[Encoding], run: Run
) -> tuple[float, float]:
    """Run the golden cases as the server does before it serves.

    Args:
        cases: of golden.json.
        output: the name of the graph's output, which is a case's field too.
        encodings: of the cases, by the bundle's tokenizer.
        run: the graph.

    Returns:
        `scaled_difference` of the rows that were run one by one, and of those that were run in
        padded batches of `PADDED_ENTRIES`.
    """
    expected = np.array([case[output] for case in cases], np.float32)
    alone = np.concatenate([run(pad([encoding])) for encoding in encodings])
    batches = [
        encodings[start : start + PADDED_ENTRIES]
        for start in range(0, len(encodings), PADDED_ENTRIES)
    ]
    padded = np.concatenate([run(pad(batch)) for batch in batches])
    return scaled_difference(alone, expected), scaled_difference(padded, expected)


def case_text(case: dict[str, Any]) -> Text:
    """Return the text, or the pair, of a golden case."""
    return case["text"] if "text" in case else (case["premise"], case["hypothesis"])


def _named(text: Text) -> dict[str, str]:
    if isinstance(text, str):
        return {"text": text}
    premise, hypothesis = text
    return {"premise": premise, "hypothesis": hypothesis}
