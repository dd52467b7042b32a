"""The bodies and answers of /v1, one module per concept."""
