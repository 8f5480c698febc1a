"""A planned step, or a workload on a GPU, as a result."""
