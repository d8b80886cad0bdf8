"""What repeats: which calls and results are the same, what is progress, and what stands in a row. Pure; shared by the detectors."""
