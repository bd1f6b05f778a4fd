"""Networks in the formats of other programs: NIR."""

from evsim.interop.nir import from_nir as from_nir
from evsim.interop.nir import load_nir as load_nir
from evsim.interop.nir import save_nir as save_nir
from evsim.interop.nir import to_nir as to_nir
