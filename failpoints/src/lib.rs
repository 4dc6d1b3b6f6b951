//! Named places in code that can misbehave.
