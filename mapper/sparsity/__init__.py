"""Which operand of which product is N:M, and the work that finding masks adds."""
