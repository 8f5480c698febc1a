"""One training step on many GPUs: layouts, shards, pipelines and memory."""
