"""APIs of other platforms on the same port, translated to the services of `semserve.v1`."""
