"""What developers run; no part of any distribution."""
