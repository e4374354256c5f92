"""Stage 3: the networks. Recurrent layers, the character model, the row classifier."""
