"""The cases that every client passes, made from what the models of the tests answer."""
