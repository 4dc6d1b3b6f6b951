//! A deterministic machine room.
