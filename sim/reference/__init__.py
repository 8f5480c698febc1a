"""The reference: a Program stepped cycle by cycle, with values; plain and slow on purpose."""
