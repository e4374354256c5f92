"""Limits on what one page may ask for, so that no request can take the whole machine."""

TEXT = 10_000  # characters of a text to read, or to continue
BODY = (
    12 * TEXT + 4096
)  # bytes of a request: such a text as JSON, each character escaped as two surrogates
LENGTH = 20_000  # symbols generated at a time
STREAMS = 32  # texts being generated at once
JOBS = 16  # texts being read at once, or waiting for it
SECONDS = 30.0  # a client may take to send a request, or to take its answer
TRACE_BYTES = 1 << 26  # memory for the activations of one text
TRACES = 3  # texts whose activations are kept
SAMPLE = 300  # symbols of the sample of each checkpoint
