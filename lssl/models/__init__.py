"""The networks: generator, discriminator, face parser, classifiers."""

from lssl.models.discriminator import CriticOutput, Discriminator
from lssl.models.generator import Generator
from lssl.models.parser import PARSER_CLASSES, FaceParser

__all__ = ["PARSER_CLASSES", "CriticOutput", "Discriminator", "FaceParser", "Generator"]
