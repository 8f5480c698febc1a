"""Fitting the GPU model's constants to measured kernels."""
