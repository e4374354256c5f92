"""Stage 5: from a trained run to text, without TensorFlow."""
