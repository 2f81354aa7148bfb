"""What ad-hoc code is looked through for. Not for use by tools."""
