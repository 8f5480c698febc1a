"""Addresses for a scheduled program, in memory and on chip."""
