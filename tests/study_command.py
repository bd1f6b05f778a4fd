"""The command ``evsim`` with the studies of this folder; workers import this file, too."""

from pathlib import Path

from evsim.commands.cli import main
from evsim.gradients.studies import papers

papers.__path__.append(str(Path(__file__).parent / "small_studies"))

if __name__ == "__main__":
    main()
