"""Times and watts of GPU kernels and steps, from machine facts and fitted constants."""
