"""The version of evsim."""

VERSION = "0.1.0"
