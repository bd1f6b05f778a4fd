"""The plain twin: the simulation in plain Python, which the compiled engine must equal."""

from evsim.reference.loop import simulate as simulate
