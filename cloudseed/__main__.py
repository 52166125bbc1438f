"""Runs the command line as `python -m cloudseed`."""

from cloudseed.cli import main

if __name__ == "__main__":
    main()
