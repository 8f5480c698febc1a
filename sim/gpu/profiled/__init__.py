"""PyTorch profiler traces beside the model."""
