"""What the operating system gives: addresses, sockets, CPUs, memory, files and environment."""
