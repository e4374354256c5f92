"""Limits on requests, so that no client can overload the machine."""

TEXT = 10_000  # characters of a text to read or continue
BODY = 4096 + 12 * TEXT  # bytes of a request: each character may be two escaped surrogates in JSON
LENGTH = 20_000  # characters generated per request
STREAMS = 32  # texts generated at once
JOBS = 16  # slow requests, running or waiting
SECONDS = 30.0  # to send a request, or between reads of a response
CONNECTIONS = 500  # open at once; further ones get status 503
TRACE_BYTES = 1 << 26  # memory for the activations of one text
TRACES = 3  # texts whose activations are cached
SAMPLE = 300  # characters per checkpoint's sample
