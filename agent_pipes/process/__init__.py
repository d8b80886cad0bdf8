"""Other people's processes: what holds them, what they have started, and how they are ended. Which one it is says `process`."""
