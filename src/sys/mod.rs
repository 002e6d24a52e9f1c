//! Kernel calls, each wrapped so that the rest of the house needs no `unsafe`.
