-- Approvals are looked up by how far they are.
CREATE INDEX exec_approvals_by_state ON exec_approvals (state, expires_at);
