-- How soon an exception is to be closed, by its severity: a tenant's own hours, or the stated default.

ALTER TABLE tenants ADD COLUMN due_hours integer[] NOT NULL DEFAULT '{168,72,24,4}'
    CONSTRAINT tenants_due_hours_form CHECK (
        array_ndims(due_hours) = 1 AND cardinality(due_hours) = 4
        AND array_position(due_hours, NULL) IS NULL
        AND 1 <= ALL (due_hours) AND 8760 >= ALL (due_hours));
COMMENT ON COLUMN tenants.due_hours IS
    'hours from the opening of an exception until it is due: low, medium, high, critical';
GRANT UPDATE (due_hours) ON tenants TO settler_api;

CREATE FUNCTION exception_due_at(opened_at timestamptz, severity text, due_hours integer[])
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT opened_at + make_interval(hours => due_hours[
        array_position(ARRAY['low', 'medium', 'high', 'critical'], severity)])
$$;
COMMENT ON FUNCTION exception_due_at IS 'an exception that nobody has closed by then is overdue';
