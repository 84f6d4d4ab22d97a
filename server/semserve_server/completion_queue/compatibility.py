"""Checks at the start that grpcio has the private parts that this package uses."""

from __future__ import annotations

import importlib

MODULE = "grpc._cython.cygrpc"
PARTS = {
    "CompletionQueue": ("poll", "shutdown"),
    "Server": (
        "add_http2_port",
        "cancel_all_calls",
        "destroy",
        "register_completion_queue",
        "request_call",
        "shutdown",
        "start",
    ),
    "Call": ("peer", "start_server_batch"),
    "CallDetails": ("deadline", "method"),
    "RequestCallEvent": ("call", "call_details", "completion_type", "invocation_metadata", "tag"),
    "BatchOperationEvent": ("batch_operations", "completion_type", "success", "tag"),
    "CompletionType": ("queue_shutdown",),
    "ReceiveCloseOnServerOperation": ("cancelled",),
    "ReceiveMessageOperation": ("message",),
    "SendInitialMetadataOperation": (),
    "SendMessageOperation": (),
    "SendStatusFromServerOperation": (),
}
"""The classes of grpcio's private module, and the attributes of each."""


def missing_parts() -> list[str]:
    """Return the names of the parts that the installed grpcio does not have."""
    try:
        cygrpc = importlib.import_module(MODULE)
    except ImportError:
        return [MODULE]
    return [
        ".".join(filter(None, (MODULE, name, attribute)))
        for name, attributes in PARTS.items()
        for attribute in ("", *attributes)
        if not hasattr(getattr(cygrpc, name, None) if attribute else cygrpc, attribute or name)
    ]
