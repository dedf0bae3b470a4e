"""Which settings train best: what may be tried, what was tried, and what came of it."""
