"""The stores of limits: one contract for all of them, and what each has besides."""
