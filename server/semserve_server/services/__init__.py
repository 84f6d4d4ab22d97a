"""One file a service of `semserve.v1`: checks a request, calls the engine, writes the reply."""
