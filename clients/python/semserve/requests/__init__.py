"""Parts that the calls share: input checks, requests as values, results for each item."""
