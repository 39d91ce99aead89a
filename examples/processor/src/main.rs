//! The processor.
fn main() {}
