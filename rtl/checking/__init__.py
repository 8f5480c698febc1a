"""Whether the checks see: functional coverage and planted faults."""
