"""Models that nobody here wrote, simulated to the end: ``python -m benchmarks.real_models``."""
