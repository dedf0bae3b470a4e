"""How good a model is: normalise, count errors, say how sure one can be, show it."""
