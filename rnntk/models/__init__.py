"""Networks: recurrent layers, the character model, the row classifier."""
