"""Personal data before they are stored: pseudonyms, coarser numbers, blurred images."""

from nightmill.privacy.blur import coarser, pixelated
from nightmill.privacy.pseudonym import KEY, pseudonym, pseudonym_key

__all__ = ["KEY", "coarser", "pixelated", "pseudonym", "pseudonym_key"]
