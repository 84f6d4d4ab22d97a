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

COARSE_STEP, FINE_STEP = 1.0, 0.25
"""Tokens. Entries whose padding beside the first entry costs less than a step are alike, and are
tried in their order. The fine step is for long queues. With it, 8 callers of 32 texts of MiniLM,
which pads for attention alone, got 1.03 times the texts/s. In a short queue it would delay some
entries: in a simulation, the p99 of single texts of 64 callers is 6 runs in place of 5."""
LONG_QUEUE_BATCHES = 4
"""Batches of the largest size that wait in a long queue."""

HANDOVER_SECONDS = 0.000_1
"""Seconds that a batch costs besides its run: to choose it, and to return its results."""
