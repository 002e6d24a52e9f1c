//! The processes: master, receivers, workers, control.
