"""The screens: main, details, confirmation and help. Attributes come down, messages go up."""
