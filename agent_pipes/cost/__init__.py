"""From usage to dollars: what each response adds, what a session has cost, and how fast it goes. The prices are in `pricing`."""
