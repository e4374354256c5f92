"""Yardsticks for a model's figures on a text: n-grams, xz and copies of the training text."""
