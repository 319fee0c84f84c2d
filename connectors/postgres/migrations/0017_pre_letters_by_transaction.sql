-- What became of a transaction may be that its record was refused: found by its id, without a scan.
CREATE INDEX dead_letter_queue_transaction_idx
    ON dead_letter_queue (tenant_id, transaction_id, received_at, dead_letter_id)
    WHERE transaction_id IS NOT NULL;
