"""Recurrent loops and matrix products, compiled by LLVM for this processor."""
