"""Pure: observations in, fleet state out. No I/O, no clock, no toolkit."""
