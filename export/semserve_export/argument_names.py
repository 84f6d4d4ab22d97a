"""What an argument is called: in a Python call by its name, on the command line by its flag.

Messages are written with either. The call and the command put them into their own words.
"""

import re

FLAGS = {
    "labels": "--label",
    "max_length": "--max-sequence-length",
    "prompts": "--prompt",
    "licence": "--license",
    "text_order": "--pair-order",
    **{
        name: f"--{name.replace('_', '-')}"
        for name in (
            *("name", "description", "task", "pair", "activation", "pooling", "normalize"),
            *("strip_accents", "split_on_cjk", "scores", "metric", "padding", "truncating"),
            *("padded_length", "tokenizer", "trust", "default_prompt", "ignore_prompts"),
            *("adapter", "allow_tokenizer_differences", "variants"),
        )
    },
}
"""The flag of each argument of `semserve_export.export` that the command has too."""
NAMES = {flag: name for name, flag in FLAGS.items()}
SWITCHES = frozenset({"pair", "trust", "ignore_prompts", "allow_tokenizer_differences"})
ORDER = re.compile(r"--pair-order (premise|hypothesis)-(premise|hypothesis)")
WORDS = "sigmoid|softmax|none|embedding|sparse_embedding|classification|score"
"""Values that a message puts behind a flag."""
FLAG = re.compile(rf"(?<![\w-])(--[a-z-]*[a-z])(?: ({WORDS})\b)?")
SUBJECT = re.compile(rf"(^|: )({'|'.join(FLAGS)}): ")
GIVEN = re.compile(rf"(?<![\w/.-])({'|'.join(FLAGS)})=(?:True\b|\"(\w+)\")?")
INSIDE = re.compile(rf"(?<![\w/.-])({'|'.join(name for name in FLAGS if '_' in name)})(?![\w/.-])")


def in_python(message: str) -> str:
    """Name the arguments of a Python call where a message names flags."""
    message = ORDER.sub(r'text_order=("\1", "\2")', message)
    return FLAG.sub(_argument, message)


def on_the_command_line(message: str) -> str:
    """Name the flags of the command where a message names arguments."""
    message = SUBJECT.sub(lambda found: f"{found[1]}{FLAGS[found[2]]}: ", message)
    message = GIVEN.sub(lambda found: " ".join(filter(None, (FLAGS[found[1]], found[2]))), message)
    return INSIDE.sub(lambda found: FLAGS[found[1]], message)


def _argument(found: re.Match[str]) -> str:
    name = NAMES.get(found[1])
    if name is None:
        return found[0]
    if found[2]:
        return f'{name}="{found[2]}"'
    return f"{name}=True" if name in SWITCHES else name
