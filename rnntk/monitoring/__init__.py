"""Curves of runs as pictures or in the terminal, and TensorBoard. Never imports TensorFlow."""
