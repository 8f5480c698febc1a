"""Models and weights that come from files: checkpoints, configurations, exported graphs, ONNX."""
