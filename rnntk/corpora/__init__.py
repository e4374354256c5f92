"""Stage 1: where text and images come from. Cards, resolution, fetching, encoding detection."""
