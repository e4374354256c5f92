"""Stage 2: from text to ids and back. Preprocessors, vocabulary, the prepared corpus on disk."""
