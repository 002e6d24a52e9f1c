//! RFC 3261 as values: bytes in, typed views and bytes out; no I/O, no clock, no randomness.
