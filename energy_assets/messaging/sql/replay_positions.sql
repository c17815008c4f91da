-- Of a message whose refusals were single values of an array, only those are read again: the others were stored.
DELETE FROM temp.staged_rows AS staged
WHERE position IS NOT NULL AND EXISTS (
    SELECT 1 FROM temp.replayed_messages AS limited
    WHERE limited.batch = staged.batch AND limited.line_number = staged.line_number
      AND limited.positions IS NOT NULL AND NOT list_contains(limited.positions, staged.position)
)
