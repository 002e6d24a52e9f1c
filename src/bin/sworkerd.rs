//! `sworkerd`.

fn main() {}
