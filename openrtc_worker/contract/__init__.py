"""What worker and dashboard agree on: wire types, signed tokens, audit events. Light to import on both sides."""
