//! Shared memory: the segment, the rings between receivers and workers, counters, the process table.
