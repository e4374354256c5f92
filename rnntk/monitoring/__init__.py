"""Looking at runs: curves as pictures or in the terminal, TensorBoard. Never TensorFlow."""
