"""A local page that shows a model from inside: its samples, its predictions, what its units follow."""
