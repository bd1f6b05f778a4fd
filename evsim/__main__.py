"""``python -m evsim``: the command line."""

from evsim.cli import main

if __name__ == "__main__":
    main()
