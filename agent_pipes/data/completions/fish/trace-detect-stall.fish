source (status dirname)/agent-strace.fish
