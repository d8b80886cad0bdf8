"""How files are followed: what one file has become (`growing`), and who says that it has changed (`watching`, `inotify`)."""
