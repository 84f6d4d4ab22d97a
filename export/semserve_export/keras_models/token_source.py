"""The source of a model's token ids, as tokenizer.json and as the Keras tokenizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from semserve_export.errors import WeightsError
from semserve_export.model_spec import Padding, PairTruncation
from semserve_export.report import Fact, Origin
from semserve_export.tokenizers.fuzz_texts import odd_texts

Read = Callable[[Sequence[str]], list[list[int]]]
"""Returns the ids of texts as in training, without padding and truncation."""
COMPARED_TEXTS = 1500
FURTHER_TEXTS = (
    *("", " ", "İ ß ẞ", "ΣΟΦΟΣ", "ΟΔΟΣ' Σ ΣΣ", "ΑΣ.Α ά", "a\x00b", "\x00", "a\x0bb\x0cc\rd"),  # noqa: RUF001 - Greek
    *("e-mail@x.org", "don't", "(a) [b] {c} <d>", "`~!@#$%^&*_-+=|\\:;\"',.?/", "a\x85b\u2028c"),
    *("[UNK] [unk] <OOV>", "[PAD] <pad>", "a\u00a0b\u3000c"),
)


@dataclass(frozen=True, slots=True)
class TokenSource:
    """A tokenizer, and the known properties of the sequences of the training."""

    tokenizer: Tokenizer  # the tokenizer of the bundle
    read: Read  # the tokenizer of Keras
    title: str  # for people
    origin: Origin = "stated"
    words: tuple[str, ...] = ()  # words of its vocabulary, for test texts; the most frequent first
    length: int | None = None  # of every sequence, if the source pads and truncates
    padding: Padding | None = None  # None: not known
    truncating: Padding | None = None
    most: int | None = None  # maximum number of tokens of a text, if the source truncates
    pad_id: int = 0  # of what fills sequences up
    pair_truncation: PairTruncation = "longest_first"
    adds_separators: bool = False  # such as [SEP], which a truncated text keeps
    facts: tuple[Fact, ...] = field(default=())

    @property
    def joins_pairs(self) -> bool:
        """Whether it joins two texts to one sequence, with a separator."""
        added = [self.tokenizer.num_special_tokens_to_add(is_pair=pair) for pair in (False, True)]
        return added[1] > added[0]

    def read_cut(self, texts: Sequence[str], most: int, truncating: Padding) -> list[list[int]]:
        """Return the ids of texts as in training, truncated.

        Args:
            texts: any texts.
            most: maximum number of ids of a text.
            truncating: the side at which ids are dropped.
        """
        if self.adds_separators:
            cutting = Tokenizer.from_str(self.tokenizer.to_str())
            cutting.enable_truncation(most, direction="left" if truncating == "pre" else "right")
            return [one.ids for one in cutting.encode_batch_fast(list(texts))]
        return [ids[-most:] if truncating == "pre" else ids[:most] for ids in self.read(texts)]

    def require_agreement(self) -> None:
        """Compare tokenizer.json with the Keras tokenizer on unusual texts.

        Raises:
            WeightsError: the ids of a text differ; the message contains the text.
        """
        texts = [*FURTHER_TEXTS, *odd_texts(COMPARED_TEXTS)]
        texts += [" ".join(self.words[:20]), " ".join(self.words[:20]).upper()]
        expected = self.read(texts)
        found = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        for text, one, other in zip(texts, expected, found, strict=True):
            if list(one) != list(other):
                raise WeightsError(
                    f"tokenizer: {self.title} reads {text!a} as {list(one)[:20]}, and"
                    f" tokenizer.json as {other[:20]}; give a tokenizers.Tokenizer in its place"
                )
