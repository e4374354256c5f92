"""Limits on what one page may ask for, so that no request can take the whole machine."""

TEXT = 10_000  # characters of a text to read, or to continue
BODY = (
    12 * TEXT + 4096
)  # bytes of a request: that text as JSON, each character escaped as two surrogates
LENGTH = 20_000  # symbols generated at a time
STREAMS = 32  # texts generated at once
JOBS = 16  # texts read at once, or waiting for it
SECONDS = 30.0  # for a client to send a request, or to take what it asked for
TRACE_BYTES = 1 << 26  # memory for the activations of one text
SAMPLE = 300  # symbols of the sample of each checkpoint
