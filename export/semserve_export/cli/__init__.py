"""The command line: flags, commands, progress, and the confined process that runs an export."""
