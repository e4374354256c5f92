"""`python -m rnntk` and the `rnntk` entry point."""

from rnntk.cli import main

if __name__ == "__main__":
    main()
