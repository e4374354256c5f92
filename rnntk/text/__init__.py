"""Text to ids and back: preprocessors, vocabulary, the prepared corpus on disk."""
