"""The limits of a batch besides its tokens, and the work beside its run."""

MAX_PADDED_FACTOR = 4
"""Most padded tokens of a batch, as a multiple of `max_batch_tokens`, even if padding costs
almost nothing: attention needs memory for each pair of tokens of a text."""

MAX_TIME_FACTOR = 2
"""How many times longer a run may become when an entry joins: a question that arrived just
before a page of text must not wait for the page. In a simulation of both, with cheap padding,
the p99 of questions was 26 ms with this limit, 32 ms without it, and 12 ms without pages."""

MAX_REFUSED = 64
"""After this many entries or lengths in a row that do not join, the search ends. They are sorted by
the cost of their padding, so those that follow would cost more still."""

HANDOVER_SECONDS = 0.000_1
"""Seconds that a batch costs besides its run: to choose it, and to return its results."""
