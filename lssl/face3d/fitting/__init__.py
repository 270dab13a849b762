"""Fitting the face model to landmarks."""
