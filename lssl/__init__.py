"""LSSL, "Learn to Synthesize and Synthesize to Learn": face attribute synthesis and its native operators."""

__version__ = "0.1.0"
