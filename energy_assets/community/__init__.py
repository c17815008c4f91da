"""The project's own data: buildings in the ASHRAE layout and households, driven by generated weather.

It writes files as a provider would, and the labels of every fault in them; reading the files back is not done here.
"""

from energy_assets.community.generate import Manifest, generate

__all__ = ["Manifest", "generate"]
