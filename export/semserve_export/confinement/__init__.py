"""What a process that reads a stranger's model may do: its limits, and its writes by Landlock."""
