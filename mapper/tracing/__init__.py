"""One training step of any eager PyTorch model as a graph of what it ran."""
