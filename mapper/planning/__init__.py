"""A whole workload as one Program: grouped, chained, and overlapped."""
