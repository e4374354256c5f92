"""Limits on requests, so that none can occupy the whole machine."""

TEXT = 10_000  # characters of a text to read, or to continue
BODY = 4096 + 12 * TEXT  # bytes of a request: TEXT characters, each two escaped surrogates in JSON
LENGTH = 20_000  # characters generated per request
STREAMS = 32  # texts being generated at once
JOBS = 16  # texts being read or waiting to be
SECONDS = 30.0  # to send a whole request, or to read some of the response
CONNECTIONS = 500  # open at once; further ones get status 503
TRACE_BYTES = 1 << 26  # memory for the activations of one text
TRACES = 3  # texts whose activations stay in memory
SAMPLE = 300  # characters per checkpoint's sample
