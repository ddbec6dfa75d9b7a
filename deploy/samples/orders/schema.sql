-- Applied once by a migration, which is a Job of its own (reserved.jobs in the PoolBudgets).
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    tenant_id varchar NOT NULL,
    total_cents integer NOT NULL,
    is_paid boolean NOT NULL
);
CREATE INDEX ix_orders_tenant_id ON orders (tenant_id);
