"""Generated messages and stubs of the package semserve.v1."""
