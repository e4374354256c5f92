"""Models in from TensorFlow 1, and out to Keras, SavedModel, ONNX and NumPy."""
