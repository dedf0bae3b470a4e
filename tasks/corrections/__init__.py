"""Labels that are probably wrong, what people decide about them, and how their decisions reach the rows of a corpus."""
