# ruff: noqa: T201 - a command speaks by printing
"""The application that the commands register with, and their common flags."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import App, ArgumentCollection, CoercionError, Group, Parameter
from cyclopts.validators import Number

from semserve.cli.command_error import UsageError
from semserve.cli.output import Format
from semserve.cli.server_connection import Tls, connect
from semserve.connection.address import DEFAULT_ADDRESS

if TYPE_CHECKING:
    from semserve import Client, Retry

TEXTS = Group("Texts", sort_key=0)
STARTING_SECONDS = 10.0
"""Default seconds to wait for a server that is starting."""
SIMILARITY = Group("Similarity", sort_key=1)
SERVER = Group("Server", sort_key=2)
SHELL = Group("Shell", sort_key=3)
CONNECTION = Group("Connection and output", sort_key=9)


def refuse_fractions(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse a fraction for a whole number, which cyclopts would round. A `config` of an `App`."""
    for argument in arguments:
        if int in (argument.hint, *get_args(argument.hint)):
            for token in argument.tokens:
                if "." in token.value:
                    raise CoercionError(argument=argument, token=token, target_type=int)


app = App(
    name="semserve",
    help="Get vectors, labels, scores and similarities of texts from a semserve server.",
    help_epilogue=(
        "Texts come from the arguments, from files with one text in each line (--file), or from "
        "standard input if it is a pipe or file; - means standard input. Lines of pairs have a "
        "tab between the two texts.\n\n"
        "Exit codes: 0, the call succeeded; 1, it failed; 2, wrong usage; 130, interrupted."
    ),
    version=lambda: version("semserve"),
    config=refuse_fractions,
)


@Parameter(name="*", group=CONNECTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFlags:
    """The flags of every command: the connection, and the output."""

    address: Annotated[str, Parameter(env_var="SEMSERVE_ADDRESS")] = DEFAULT_ADDRESS
    "HOST:PORT of the server."
    key: Annotated[str, Parameter(env_var="SEMSERVE_KEY", show_default=False)] = ""
    "API key, if the server needs one. SEMSERVE_KEY keeps it out of the list of processes."
    tls: Annotated[bool, Parameter(negative=())] = False
    "Encrypt the connection, and trust gRPC's default certificate authorities."
    tls_ca: Annotated[Path | None, Parameter(env_var="SEMSERVE_TLS_CA")] = None
    "Encrypt the connection, and trust the certificate authorities in this PEM file."
    tls_certificate: Path | None = None
    "PEM file with the client's certificate, if the server needs one; with --tls-key."
    tls_key: Path | None = None
    "PEM file with the private key of the certificate."
    output: Format = "table"
    """table: for people. json: one document, with all fields. jsonl, csv, tsv: a line for each
    result, with the names of the JSON fields. text: only the labels, scores, texts or names."""
    timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 30.0
    "Seconds to wait for a reply; for a long list, for each part of it."
    wait: Annotated[float | None, Parameter(validator=Number(gte=0), show_default=False)] = None
    "Seconds to wait for a server that is starting: 10 by default, and 0 for `health`."

    def refuse_lists(self, command: str) -> None:
        """Refuse the formats of lists for a command that prints one document.

        Raises:
            UsageError: it names the format and the command.
        """
        if self.output in ("text", "csv", "tsv"):
            raise UsageError(
                f"--output {self.output}: {command} prints no list of results; choose table or json"
            )

    def client(
        self, *, wait: float = STARTING_SECONDS, retry: "Retry | None" = None
    ) -> AbstractContextManager["Client"]:
        """Create a client that shows progress, and whose failures end the command.

        Args:
            wait: seconds to wait for a server that is starting, if --wait does not say.
            retry: when a failed request is sent again; None for the client's default.
        """
        wanted = self.tls or self.tls_ca or self.tls_certificate or self.tls_key
        paths = (self.tls_ca, self.tls_key, self.tls_certificate)
        return connect(
            self.address or DEFAULT_ADDRESS,
            self.timeout,
            wait=wait if self.wait is None else self.wait,
            key=self.key,
            retry=retry,
            tls=Tls(*paths) if wanted else None,
        )


SERVER_FLAGS = ServerFlags()

Model = Annotated[
    str,
    Parameter(help="Name of the model; by default the server chooses.", show_default=False),
]
Files = Annotated[
    Sequence[str],
    Parameter(
        name="--file",
        help="File with one text in each line; may be repeated.",
        negative=(),
        show_default=False,
    ),
]
PairFiles = Annotated[
    Sequence[str],
    Parameter(
        name="--file",
        help="File with one pair in each line, with a tab between its texts; may be repeated.",
        negative=(),
        show_default=False,
    ),
]
Metric = Annotated[
    Literal["cosine", "dot", "euclidean", "manhattan"] | None,
    Parameter(help="How vectors are compared; by default the model's metric."),
]
PromptName = Annotated[
    str | None,
    Parameter(
        help="Name of the prompt to put before each text; '' for none. By default the model's.",
        show_default=False,
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPromptFlags:
    """The prompts of queries and of documents."""

    prompt_name: PromptName = None
    document_prompt_name: str | None = None
    "Prompt of the documents or the corpus, if it differs."


QUERY_PROMPTS = QueryPromptFlags()
TopK = Annotated[int | None, Parameter(validator=Number(gte=1))]


@app.command(group=SHELL)
def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that completes commands and flags in a shell.

    For bash, write it to ~/.local/share/bash-completion/completions/semserve; for zsh, to a file
    _semserve in a directory of $fpath; for fish, to ~/.config/fish/completions/semserve.fish.

    Args:
        shell: Shell that reads the script.
    """
    print(app.generate_completion(shell=shell))
