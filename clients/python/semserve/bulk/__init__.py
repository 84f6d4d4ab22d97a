"""Long files: reads records, writes rows in their order, and continues after an interruption."""
