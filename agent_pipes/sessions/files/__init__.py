"""Following files that grow: tail -F, told by inotify."""
