"""Recurrent loops and matrix products compiled for the processor they run on, by LLVM."""
