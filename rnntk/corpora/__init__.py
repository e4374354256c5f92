"""Stage 1: corpus cards, finding and downloading corpora, encoding detection."""
