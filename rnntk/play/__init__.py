"""A local page to look inside a model: what it writes, what it expects, what its units follow."""
