"""The names of arguments in messages: the name in a Python call, the flag on the command line.

Messages are written with either form; the Python call and the command convert them to their own.
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
"""The flag of each argument of `semserve_export.export` that is also a flag of the command."""
NAMES = {flag: name for name, flag in FLAGS.items()}
SWITCHES = frozenset({"pair", "trust", "ignore_prompts", "allow_tokenizer_differences"})
ORDER = re.compile(r"--pair-order (premise|hypothesis)-(premise|hypothesis)")
WORDS = "sigmoid|softmax|none|embedding|sparse_embedding|classification|score"
"""Values that follow a flag in messages."""
FLAG = re.compile(rf"(?<![\w-])(--[a-z-]*[a-z])(?: ({WORDS})\b)?")
SUBJECT = re.compile(rf"(^|: )({'|'.join(FLAGS)}): ")
GIVEN = re.compile(rf"(?<![\w/.-])({'|'.join(FLAGS)})=(?:True\b|\"(\w+)\")?")
INSIDE = re.compile(rf"(?<![\w/.-])({'|'.join(name for name in FLAGS if '_' in name)})(?![\w/.-])")


def in_python(message: str) -> str:
    """Replace flags in a message by the arguments of the Python call."""
    message = ORDER.sub(r'text_order=("\1", "\2")', message)
    return FLAG.sub(_argument, message)


def on_the_command_line(message: str) -> str:
    """Replace arguments in a message by the flags of the command."""
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
