"""The web page of `lssl demo`: a small server on this computer, and what it does with a photograph."""
