"""SCALE-Sim's tables of layers."""
