//! Commands for operators: protocol, server and client.
