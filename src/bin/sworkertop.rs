//! `sworkertop`.

fn main() {}
