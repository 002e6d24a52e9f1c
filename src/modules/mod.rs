//! The modules a script can load; this file is the list and nothing else.
