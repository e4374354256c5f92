"""A local page that shows a model's samples, its predictions and the features its units follow."""
