"""The command line: options, printing, exit codes. Nothing imports it."""
