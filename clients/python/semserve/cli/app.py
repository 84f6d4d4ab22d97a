"""The application that the commands join, and the flags they share."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Group, Parameter
from cyclopts.validators import Number

from semserve.address import DEFAULT_ADDRESS
from semserve.cli.calling import Tls, calling

if TYPE_CHECKING:
    from semserve import Client

TEXTS = Group("Texts", sort_key=0)
SIMILARITY = Group("Similarity", sort_key=1)
SERVER = Group("Server", sort_key=2)
CONNECTION = Group("Connection and output", sort_key=9)

app = App(
    name="semserve",
    help="Ask a semserve server for vectors, labels and similarities of texts.",
    help_epilogue=(
        "Texts come from the arguments, from files with a text a line (--file), or from standard "
        "input where it is piped in; - stands for it. Pairs have a tab between their texts."
    ),
    version=lambda: version("semserve"),
)


@Parameter(name="*", group=CONNECTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How the server is asked and its answer shown."""

    address: Annotated[str, Parameter(env_var="SEMSERVE_ADDRESS")] = DEFAULT_ADDRESS
    "HOST:PORT of the server."
    key: Annotated[str, Parameter(env_var="SEMSERVE_KEY", show_default=False)] = ""
    "API key, where the server wants one. SEMSERVE_KEY keeps it out of the list of processes."
    tls: Annotated[bool, Parameter(negative=())] = False
    "Encrypt, and trust the authorities that gRPC knows."
    tls_ca: Annotated[Path | None, Parameter(env_var="SEMSERVE_TLS_CA")] = None
    "Encrypt, and trust the authorities of this PEM file."
    tls_certificate: Path | None = None
    "PEM file of the client's own certificate, where the server wants one; with --tls-key."
    tls_key: Path | None = None
    "PEM file of its private key."
    output: Literal["table", "json"] = "table"
    "A table for people, or JSON for programs, which holds everything."
    timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 30.0
    "Seconds to wait for an answer; of a long list, for each part of it."

    def client(self) -> AbstractContextManager["Client"]:
        """Give a client whose calls show their progress and whose failures stop the command."""
        wanted = self.tls or self.tls_ca or self.tls_certificate or self.tls_key
        paths = (self.tls_ca, self.tls_key, self.tls_certificate)
        return calling(
            self.address or DEFAULT_ADDRESS,
            self.timeout,
            key=self.key,
            tls=Tls(*paths) if wanted else None,
        )


ASKING = Asking()

Model = Annotated[
    str,
    Parameter(help="Model to ask; by default the server's own choice.", show_default=False),
]
Files = Annotated[
    Sequence[str],
    Parameter(
        name="--file",
        help="File with a text a line; may be repeated.",
        negative=(),
        show_default=False,
    ),
]
PairFiles = Annotated[
    Sequence[str],
    Parameter(
        name="--file",
        help="File with a pair a line, a tab between its texts; may be repeated.",
        negative=(),
        show_default=False,
    ),
]
Metric = Annotated[
    Literal["cosine", "dot", "euclidean", "manhattan"] | None,
    Parameter(help="How vectors make a score; by default the model's own way."),
]
PromptName = Annotated[
    str | None,
    Parameter(
        help="Prompt of the model to put before each text; by default its own, and '' for none.",
        show_default=False,
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPrompts:
    """The prompts of queries and of what is searched."""

    prompt_name: PromptName = None
    document_prompt_name: str | None = None
    "Prompt of the documents or the corpus, where it is another."


QUERY_PROMPTS = QueryPrompts()
TopK = Annotated[int | None, Parameter(validator=Number(gte=1))]
