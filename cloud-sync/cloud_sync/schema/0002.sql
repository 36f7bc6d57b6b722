-- A hall is out of service from when its retained state is deleted until it sends events again.
ALTER TABLE halls ADD COLUMN in_service INTEGER NOT NULL DEFAULT 1;
