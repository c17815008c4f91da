"""The ledger: an append-only transparency log of prices, settlements and promotions that a stranger can check.

Files in C2SP tlog-tiles form are the truth; anything else, also the index beside them, can be rebuilt from them.
"""
