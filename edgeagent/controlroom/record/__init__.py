"""The published record of a deployment (R30): from units' audit logs to figures, a page, a table."""
