//! Listeners and the datagrams they carry.
