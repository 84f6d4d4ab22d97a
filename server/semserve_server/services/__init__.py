"""The services of `semserve.v1`: validate a request, call the engine, write the reply."""
