"""Writes cases.json: `make cases`."""

from clients.shared_cases.table import CASES, write

write(CASES)
