"""``python -m evsim``: the command line."""

from evsim.commands.cli import main

if __name__ == "__main__":
    main()
