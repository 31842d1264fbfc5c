-- +goose Up

-- What operators have switched, by hand and for an hour: each process reads all of it every few seconds. A switch that has
-- no row is off.
CREATE TABLE ops_switches (
    name       text        PRIMARY KEY CHECK (name <> '' AND length(name) <= 64),
    is_on      boolean     NOT NULL,
    changed_by text        NOT NULL CHECK (changed_by <> '' AND length(changed_by) <= 255),
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- When the books were last looked at, so that of many processes one does it.
CREATE TABLE ops_checks (
    name       text        PRIMARY KEY,
    checked_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE ops_checks;
DROP TABLE ops_switches;
