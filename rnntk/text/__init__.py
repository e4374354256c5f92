"""Stage 2: from text to ids and back: preprocessors, vocabulary, the prepared corpus on disk."""
