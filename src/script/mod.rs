//! The configuration language: text to tree to checked program to execution.
