"""The errors that this package raises on purpose. Each names the thing, the place and the remedy in its message.

A bad *row* is never an error: it goes to quarantine with a reason. These are for what stops a whole step.
"""


class EnergyAssetsError(Exception):
    """Stops a step with a message that a person can act on."""


class ConfigError(EnergyAssetsError):
    """A setting, mapping or source declaration is missing, unknown or out of range."""


class SourceError(EnergyAssetsError):
    """A file or service is not what it claims to be: missing, truncated, with wrong columns, changed while read."""


class ContractError(EnergyAssetsError):
    """A frame does not meet the contract of the table it is meant for."""


class LakeError(EnergyAssetsError):
    """The lake cannot be attached, or a transaction failed for good."""


class ModelError(EnergyAssetsError):
    """A model cannot be trained, registered, resolved or loaded."""


class LedgerError(EnergyAssetsError):
    """The ledger's files, signatures or proofs do not hold together, or an entry contradicts a published one."""
