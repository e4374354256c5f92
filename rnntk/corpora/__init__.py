"""Corpus cards, finding and downloading corpora, encoding detection."""
