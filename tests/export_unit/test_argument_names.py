"""A message names arguments in a Python call, and flags on the command line."""

import pytest
from semserve_export.argument_names import FLAGS, in_python, on_the_command_line
from semserve_export.cli.app import app


@pytest.mark.parametrize(
    ("message", "called", "commanded"),
    [
        (
            "mine.keras: labels: 3 classes need as many labels",
            "mine.keras: labels: 3 classes need as many labels",
            "mine.keras: --label: 3 classes need as many labels",
        ),
        (
            "padded_length: say it (--padded-length)",
            "padded_length: say it (padded_length)",
            "--padded-length: say it (--padded-length)",
        ),
        (
            "trust the file with --trust, or save it",
            "trust the file with trust=True, or save it",
            "trust the file with --trust, or save it",
        ),
        (
            "say --pair-order hypothesis-premise, or --scores sigmoid",
            'say text_order=("hypothesis", "premise"), or scores="sigmoid"',
            "say --pair-order hypothesis-premise, or --scores sigmoid",
        ),
        (
            "export it with trust=True and metric=",
            "export it with trust=True and metric=",
            "export it with --trust and --metric",
        ),
        (
            "--task classification: the head has 1 output",
            'task="classification": the head has 1 output',
            "--task classification: the head has 1 output",
        ),
        (
            "no/max_length/file-text_order.json: the labels, --output and --unknown stay",
            "no/max_length/file-text_order.json: the labels, --output and --unknown stay",
            "no/max_length/file-text_order.json: the labels, --output and --unknown stay",
        ),
    ],
)
def test_a_message_is_put_into_the_words_of_its_reader(message, called, commanded):
    assert (called, commanded) == (in_python(message), on_the_command_line(message))


@pytest.mark.parametrize("name", FLAGS)
def test_each_argument_has_a_flag_of_the_command(name):
    arguments = app["export"].assemble_argument_collection()
    assert FLAGS[name] in {flag for argument in arguments for flag in argument.names}
