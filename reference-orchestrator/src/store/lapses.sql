-- Version 5. A lease lapses when no request comes: whether its end was told of is kept, so that each is told of once.
ALTER TABLE registrations ADD COLUMN lapse_told INTEGER NOT NULL DEFAULT FALSE CHECK (lapse_told IN (FALSE, TRUE));
