"""Limits on what one page may ask for, so that no request can take the whole machine."""

TEXT = 10_000  # characters of a text to read, or to continue
BODY = 4096 + 12 * TEXT  # bytes of a request: TEXT as JSON, every character two escaped surrogates
LENGTH = 20_000  # symbols generated at a time
STREAMS = 32  # texts being generated at once
JOBS = 16  # texts being read at once, or waiting for it
SECONDS = 30.0  # a client may take to send a request, with headers and body, or to take its answer
CONNECTIONS = 500  # at once; more are answered that the server is busy
TRACE_BYTES = 1 << 26  # memory for the activations of one text
TRACES = 3  # texts whose activations are kept
SAMPLE = 300  # symbols of the sample of each checkpoint
