"""The GPU model against figures that others published."""
