"""What is drawn: widgets that know frozen views and a look, and neither a client, a store nor the app."""
