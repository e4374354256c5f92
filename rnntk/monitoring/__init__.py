"""Training curves as pictures or in the terminal, and TensorBoard. Never imports TensorFlow."""
