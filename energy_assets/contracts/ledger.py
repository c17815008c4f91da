"""Contract of the ledger's index: what the transparency log holds, in a form that can be queried.

The log's files are the truth; this table is rebuilt from them.
"""

from energy_assets.contracts.table import Table, day, integer, text, time

LEDGER_ENTRIES = Table(
    schema="ledger",
    name="entries",
    description="The entries of the transparency log: price curves, their corrections, settlement roots, promotions.",
    columns=(
        integer("log_index", "Place in the log, from 0", 0, "a count"),
        text("entry_type", "price_curve, price_correction, settlement_root or model_promotion"),
        text("zone_id", "Price zone, or the name of the model"),
        day("entry_date", "Delivery date, first day of the period, or day of promotion"),
        integer("revision", "0 is the first publication", 0, "a count"),
        text("entry", "The entry as logged: canonical JSON"),
        text("leaf_sha256", "RFC 6962 hash of the entry, hexadecimal"),
        time("indexed_at_utc", "When this row was written"),
    ),
    key=("log_index",),
)

LEDGER_CHECKPOINTS = Table(
    schema="ledger",
    name="checkpoints",
    description="Signed checkpoints of the transparency log, remembered outside of it; a later log must extend each.",
    columns=(
        integer("size", "Entries that the checkpoint signs", 0, "a count"),
        text("root_sha256", "Root over them, hexadecimal"),
        text("note", "The checkpoint as signed"),
        time("seen_at_utc", "When it was first seen"),
    ),
    key=("size", "root_sha256"),
)
