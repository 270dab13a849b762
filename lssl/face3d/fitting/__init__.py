"""The face model fitted to landmarks."""
