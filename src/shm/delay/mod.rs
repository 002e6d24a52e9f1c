//! Messages whose time has not come, on their way into the rings.

pub(in crate::shm) mod waiting_room;
