//! `sworkerctl`.

fn main() {}
