//! START HERE: arguments to config to the running server.
fn main() {}
