"""The artificial cochlea: from sound to spikes."""

from .cochlea import BushyCell as BushyCell
from .cochlea import Cochlea as Cochlea
from .cochlea import HairCell as HairCell
