-- What the models of an execution cost, in millionths of the operator's unit of currency; null where a model has no price.
ALTER TABLE executions ADD COLUMN cost_micros INTEGER;
