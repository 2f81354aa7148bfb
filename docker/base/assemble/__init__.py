"""Assembles the root filesystem of the base image and hands it to the engine."""


class AssembleError(Exception):
    """Says what failed and what to do about it; the program prints it and stops."""
