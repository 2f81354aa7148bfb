"""The parts of the runner, `rumi_runner.py`. Not for use by tools."""
