"""Stage 5: from a trained run to text, in NumPy alone."""
