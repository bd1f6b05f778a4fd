"""What the commands of ``evsim`` do with files; `evsim.commands.cli` is the command line."""
