"""Other platforms' APIs on the same port; each translates to the services of `semserve.v1`."""
