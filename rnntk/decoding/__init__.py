"""Generates and evaluates text with trained models, without TensorFlow."""
