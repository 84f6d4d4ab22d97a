"""The servers that are measured: semserve, an echo, and the peers."""
