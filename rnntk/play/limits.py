"""Limits on what one page may ask for, so that no request can take the whole machine."""

TEXT = 10_000
"""Characters of a text to read, or to go on from."""

BODY = 12 * TEXT + 4096
"""Bytes of a request: a text of the largest size as JSON, every character escaped as two surrogates."""

LENGTH = 20_000
"""Symbols generated at a time."""

STREAMS = 32
"""Texts being written at once."""

JOBS = 16
"""Texts being read at once, or waiting for it."""

SECONDS = 30.0
"""How long a client may take to send a request, its headers and its body, or to take what it has asked for."""

CONNECTIONS = 500
"""Connections at once; more are answered that the server is busy."""

TRACE_BYTES = 1 << 26
"""Memory for the activations of one text."""

SAMPLE = 300
"""Symbols of the sample of each checkpoint."""
