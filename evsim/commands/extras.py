"""What is needed and not there: packages that only some commands use."""

from __future__ import annotations


def need_torch(what: str) -> None:
    """Raise an error that says how to install torch, unless it is there.

    Parameters
    ----------
    what : str
        Who needs it, as the beginning of a sentence.

    Raises
    ------
    ModuleNotFoundError
        If torch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{what} needs torch; install it with: pip install evsim[torch]"
        ) from error
