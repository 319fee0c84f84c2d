"""The HTTP interface: one Starlette application, one module per resource."""
